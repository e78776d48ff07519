/** What the shop sells: things for a stay somewhere else. Drawn on a 64 × 64 grid; `tint` marks the filled parts. */
const item = (id, en, ko, price, art) => ({ id, names: { en, ko }, price, art });

export const GOODS = [
  item(
    "tent",
    "Tent",
    "텐트",
    189_000,
    '<path class="tint" d="M32 14 8 50h48z"/><path d="M32 14 8 50h48z"/><path d="M32 14v-4M32 26 22 50M32 26l10 24"/><path d="M4 50h56"/>',
  ),
  item(
    "lantern",
    "Lantern",
    "랜턴",
    39_000,
    '<path class="tint" d="M22 24h20v22H22z"/><path d="M22 24h20v22H22z"/><path d="M19 46h26v6H19zM24 24l3-7h10l3 7"/><path d="M27 17a8 8 0 0 1 10 0"/><path d="M26 17c0-9 12-9 12 0"/><path d="M32 41c-4 0-5-4-3-7 2-2 3-3 3-5 3 2 5 5 5 8 0 2-2 4-5 4z"/>',
  ),
  item(
    "kettle",
    "Kettle",
    "주전자",
    45_000,
    '<path class="tint" d="M18 50c-4-10-2-22 6-25h16c8 3 10 15 6 25z"/><path d="M18 50c-4-10-2-22 6-25h16c8 3 10 15 6 25z"/><path d="M25 25c0-4 14-4 14 0M32 22v-3"/><path d="M47 33c5-1 6-5 10-7"/><path d="M20 22c-2-15 26-15 24 0"/>',
  ),
  item(
    "mug",
    "Mug",
    "머그컵",
    14_000,
    '<path class="tint" d="M16 26h26v20a6 6 0 0 1-6 6H22a6 6 0 0 1-6-6z"/><path d="M16 26h26v20a6 6 0 0 1-6 6H22a6 6 0 0 1-6-6z"/><path d="M42 31h5a6 6 0 0 1 0 13h-5"/><path d="M24 19c-2-3 2-4 0-8M33 19c-2-3 2-4 0-8"/>',
  ),
  item(
    "thermos",
    "Thermos",
    "보온병",
    32_000,
    '<path class="tint" d="M23 24h18v26a4 4 0 0 1-4 4H27a4 4 0 0 1-4-4z"/><path d="M23 24h18v26a4 4 0 0 1-4 4H27a4 4 0 0 1-4-4z"/><path d="M25 24v-5h14v5M27 19v-8h10v8"/><path d="M23 32h18M23 46h18"/>',
  ),
  item(
    "backpack",
    "Backpack",
    "배낭",
    98_000,
    '<path class="tint" d="M17 30a15 15 0 0 1 30 0v20a4 4 0 0 1-4 4H21a4 4 0 0 1-4-4z"/><path d="M17 30a15 15 0 0 1 30 0v20a4 4 0 0 1-4 4H21a4 4 0 0 1-4-4z"/><path d="M26 16v-2a6 6 0 0 1 12 0v2"/><path d="M24 54V42a3 3 0 0 1 3-3h10a3 3 0 0 1 3 3v12M24 46h16M26 29h12"/><path d="M17 35h-3a3 3 0 0 0-3 3v9a3 3 0 0 0 3 3h3M47 35h3a3 3 0 0 1 3 3v9a3 3 0 0 1-3 3h-3"/>',
  ),
  item(
    "suitcase",
    "Suitcase",
    "여행 가방",
    129_000,
    '<path class="tint" d="M15 21h34a4 4 0 0 1 4 4v23a4 4 0 0 1-4 4H15a4 4 0 0 1-4-4V25a4 4 0 0 1 4-4z"/><path d="M15 21h34a4 4 0 0 1 4 4v23a4 4 0 0 1-4 4H15a4 4 0 0 1-4-4V25a4 4 0 0 1 4-4z"/><path d="M25 21v-5a3 3 0 0 1 3-3h8a3 3 0 0 1 3 3v5M20 21v31M44 21v31"/>',
  ),
  item(
    "umbrella",
    "Umbrella",
    "우산",
    27_000,
    '<path class="tint" d="M8 34a24 22 0 0 1 48 0c-4-4-8-4-12 0-4-4-8-4-12 0-4-4-8-4-12 0-4-4-8-4-12 0z"/><path d="M8 34a24 22 0 0 1 48 0c-4-4-8-4-12 0-4-4-8-4-12 0-4-4-8-4-12 0-4-4-8-4-12 0z"/><path d="M32 12V9M32 32v17a5 5 0 0 1-10 0v-1"/>',
  ),
  item(
    "compass",
    "Compass",
    "나침반",
    52_000,
    '<circle class="tint" cx="32" cy="35" r="19"/><circle cx="32" cy="35" r="19"/><circle cx="32" cy="12" r="4"/><path d="m40 27-5 11-11 5 5-11z"/><path d="M32 20v2M32 48v2M17 35h2M45 35h2"/>',
  ),
  item(
    "map",
    "Map",
    "지도",
    9_000,
    '<path class="tint" d="m9 19 15-6 16 6 15-6v32l-15 6-16-6-15 6z"/><path d="m9 19 15-6 16 6 15-6v32l-15 6-16-6-15 6z"/><path d="M24 13v32M40 19v32"/><path d="M14 38c4-1 4-6 8-6M29 32c4 1 4 6 8 4" stroke-dasharray="2 3.4"/><path d="m45 25 4 4M49 25l-4 4"/>',
  ),
  item(
    "notebook",
    "Notebook",
    "수첩",
    12_000,
    '<path class="tint" d="M19 11h26a3 3 0 0 1 3 3v36a3 3 0 0 1-3 3H19z"/><path d="M19 11h26a3 3 0 0 1 3 3v36a3 3 0 0 1-3 3H19z"/><path d="M25 11v42M15 19h7M15 28h7M15 37h7M15 46h7M31 22h11M31 28h7"/>',
  ),
  item(
    "key",
    "Room key",
    "방 열쇠",
    5_000,
    '<circle class="tint" cx="21" cy="24" r="11"/><circle cx="21" cy="24" r="11"/><circle cx="21" cy="24" r="4"/><path d="m29 32 22 22M44 47l5-5M38 41l4-4"/>',
  ),
];

export function artOf({ art }, size) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 64 64");
  svg.setAttribute("width", size);
  svg.setAttribute("height", size);
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("art");
  // Our own drawings from above, never anything a visitor sent.
  svg.innerHTML = art;
  return svg;
}

/** Each product is an attribute of its own, so that two requests that change the cart at once both count. */
const PREFIX = "cart:";
export const attributeOf = (id) => PREFIX + id;

/** @returns [product, quantity] of what is in the cart, in the catalogue's order */
export function cartOf(attributes) {
  return GOODS.map((each) => [each, attributes[attributeOf(each.id)]]).filter(([, quantity]) => quantity > 0);
}
