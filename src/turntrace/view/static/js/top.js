// The top bar of a page that has no stream of its own: how fast spans arrive.

import { openLive } from "./live.js";

openLive("rows=none", {});
