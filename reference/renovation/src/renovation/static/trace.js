// A user's action as a W3C trace: over HTTP in a header, over Socket.IO in the namespace's query.
//
// It is sent only where the server agreed: the client asks with `tt=1` in the handshake's query, the
// server answers `"tt": 1` in the CONNECT reply of a namespace (docs/adr/002-context-in-packets.md).
import { Decoder, Encoder, PacketType } from "./vendor/socket.io-parser/index.js";

function randomHex(bytes) {
  const drawn = crypto.getRandomValues(new Uint8Array(bytes));
  return Array.from(drawn, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** One thing the user did; everything it causes belongs to its trace. */
export class Action {
  traceId = randomHex(16);
  traceparent = `00-${this.traceId}-${randomHex(8)}-01`;
  /** Whether an event has carried it; without, the server chose a trace of its own. */
  isCarried = false;

  headers() {
    return { traceparent: this.traceparent };
  }
}

/**
 * Return what one `io(...)` needs to carry actions: `options` to spread into its own,
 * and `carry(payload, action)`, which returns the payload to emit as first argument.
 */
export function carrier() {
  // Namespaces of this connection whose server wants context.
  const agreed = new Set();
  // By payload, not by what is current: an event may wait for the connection before it is encoded.
  const actions = new WeakMap();

  class ContextEncoder extends Encoder {
    encode(packet) {
      const action = packet.type === PacketType.EVENT ? actions.get(packet.data[1]) : undefined;
      if (action === undefined || !agreed.has(packet.nsp)) return super.encode(packet);
      action.isCarried = true;
      return super.encode({ ...packet, nsp: `${packet.nsp}?traceparent=${action.traceparent}` });
    }
  }

  class ContextDecoder extends Decoder {
    constructor(...options) {
      super(...options);
      this.on("decoded", (packet) => {
        if (packet.type !== PacketType.CONNECT) return;
        if (packet.data?.tt === 1) agreed.add(packet.nsp);
        else agreed.delete(packet.nsp);
      });
    }
  }

  return {
    options: { parser: { Encoder: ContextEncoder, Decoder: ContextDecoder }, query: { tt: "1" } },
    carry(payload, action) {
      actions.set(payload, action);
      return payload;
    },
  };
}
