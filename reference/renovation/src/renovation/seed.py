"""The catalogs every new database starts with: styles and products."""

from typing import Any

_STYLES = (
    (
        "modern",
        "Modern",
        "Clean lines, open plans and few, well chosen pieces.",
        ("white", "charcoal", "walnut"),
        ("glass", "steel", "walnut"),
        "A kitchen without handles around one walnut island.",
    ),
    (
        "scandinavian",
        "Scandinavian",
        "Light, warm and practical rooms for long winters.",
        ("white", "pale grey", "dusty blue"),
        ("birch", "wool", "linen"),
        "A living room with a birch floor, a wool rug and light from three sides.",
    ),
    (
        "japandi",
        "Japandi",
        "Japanese calm and Scandinavian comfort, low furniture, empty space left on purpose.",
        ("oat", "clay", "ink"),
        ("oak", "paper", "bamboo"),
        "A bedroom with a low oak bed, a paper lamp and clay plaster on the walls.",
    ),
    (
        "industrial",
        "Industrial",
        "Honest structure: what carries the house may be seen.",
        ("brick red", "black", "raw grey"),
        ("steel", "brick", "reclaimed pine"),
        "A loft with bare brick, black steel shelves and a long pine table.",
    ),
    (
        "bohemian",
        "Bohemian",
        "Layered textiles, plants and finds from many journeys.",
        ("terracotta", "mustard", "teal"),
        ("rattan", "cotton", "brass"),
        "A reading corner with a rattan chair, kilims and a brass lamp.",
    ),
    (
        "farmhouse",
        "Farmhouse",
        "Generous, sturdy and friendly, made for many people at one table.",
        ("cream", "sage", "honey"),
        ("pine", "stoneware", "cast iron"),
        "A kitchen with an apron sink, open shelves and a pine table for ten.",
    ),
    (
        "coastal",
        "Coastal",
        "Bleached wood and sea colours, windows first.",
        ("sand", "sea green", "white"),
        ("driftwood", "linen", "jute"),
        "A porch room with linen sofas, a jute rug and white boards.",
    ),
    (
        "minimalist",
        "Minimalist",
        "Everything has its place, most of it behind a plain front.",
        ("white", "stone", "black"),
        ("concrete", "lacquer", "glass"),
        "A bathroom of one stone, one mirror and one hidden line of light.",
    ),
    (
        "mediterranean",
        "Mediterranean",
        "Thick walls, arches and floors that stay cool in summer.",
        ("lime white", "ochre", "olive"),
        ("terracotta", "lime plaster", "wrought iron"),
        "A dining room with terracotta tiles and an arch to the courtyard.",
    ),
    (
        "art-deco",
        "Art Deco",
        "Geometry and glamour: symmetry, dark wood and polished metal.",
        ("emerald", "black", "gold"),
        ("velvet", "brass", "lacquer"),
        "A hall with a black and white floor, brass sconces and emerald velvet.",
    ),
)

_PRODUCTS = (
    ("sofa-lind", "Lind three-seat sofa", "sofa", "scandinavian", "wool", 1290),
    ("sofa-kubo", "Kubo modular sofa", "sofa", "modern", "steel and bouclé", 2150),
    ("sofa-marea", "Marea slipcover sofa", "sofa", "coastal", "linen", 1480),
    ("lamp-andon", "Andon floor lamp", "lamp", "japandi", "paper and oak", 240),
    ("lamp-foundry", "Foundry pendant lamp", "lamp", "industrial", "steel", 180),
    ("lamp-gatsby", "Gatsby table lamp", "lamp", "art-deco", "brass", 320),
    ("table-hara", "Hara low table", "table", "japandi", "oak", 540),
    ("table-harvest", "Harvest dining table", "table", "farmhouse", "pine", 1150),
    ("table-span", "Span dining table", "table", "modern", "glass and walnut", 1690),
    ("chair-nomad", "Nomad armchair", "chair", "bohemian", "rattan", 390),
    ("chair-fjord", "Fjord dining chair", "chair", "scandinavian", "birch", 165),
    ("chair-forge", "Forge bar chair", "chair", "industrial", "steel and pine", 210),
    ("rug-kilim", "Atlas kilim rug", "rug", "bohemian", "cotton", 450),
    ("rug-dune", "Dune woven rug", "rug", "coastal", "jute", 260),
    ("tile-zellige", "Zellige wall tile, per square metre", "tile", "mediterranean", "clay", 95),
    ("tile-cotto", "Cotto floor tile, per square metre", "tile", "mediterranean", "clay", 62),
    ("tile-slab", "Large slab tile, per square metre", "tile", "minimalist", "porcelain", 78),
    ("bed-tatami", "Tatami platform bed", "bed", "japandi", "oak", 980),
    ("bed-alcove", "Alcove storage bed", "bed", "minimalist", "lacquer", 1240),
    ("shelf-truss", "Truss wall shelf", "shelf", "industrial", "steel", 145),
    ("shelf-plate", "Plate rail shelf", "shelf", "farmhouse", "pine", 110),
    ("mirror-arc", "Arc hall mirror", "mirror", "art-deco", "brass", 380),
    ("mirror-line", "Line mirror with light", "mirror", "minimalist", "glass", 295),
    ("faucet-bridge", "Bridge kitchen faucet", "faucet", "farmhouse", "brushed nickel", 275),
    ("curtain-veil", "Veil linen curtain", "curtain", "scandinavian", "linen", 85),
    ("paint-lime", "Lime wash paint, ten litres", "paint", "mediterranean", "lime", 120),
)

STYLES: tuple[dict[str, Any], ...] = tuple(
    {
        "id": key,
        "name": name,
        "description": description,
        "palette": list(palette),
        "materials": list(materials),
        "example": example,
    }
    for key, name, description, palette, materials, example in _STYLES
)
"""Rows of `style_catalog`."""

PRODUCTS: tuple[dict[str, Any], ...] = tuple(
    {
        "id": key,
        "name": name,
        "category": category,
        "style_id": style,
        "material": material,
        "price_usd": price_usd,
    }
    for key, name, category, style, material, price_usd in _PRODUCTS
)
"""Rows of `products_catalog`."""
