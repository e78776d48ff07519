/** The little that this page needs of a view library. */
import { label } from "./words.js";

export const byId = (id) => document.getElementById(id);

/** `h("button", { type: "button", class: "quiet" }, "text", child)`; a key of the words comes as `{ words: "key" }`. */
export function h(tag, { words, values, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  if (words !== undefined) label(element, words, values);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Who answered: a letter and a colour, so that neither has to be known by heart. */
export function badge(server, withName = true) {
  if (server === null || server === undefined) return h("span", { class: "badge" }, "–");
  return h(
    "span",
    { class: "badge", "data-server": server },
    h("i", { "aria-hidden": "true" }, server[0].toUpperCase()),
    withName ? server : "",
  );
}

/** The lamps of the consoles: a shape and a colour for each state, always beside its word. */
const LAMPS = {
  running: '<circle cx="6" cy="6" r="5"/>',
  stopped: '<rect x="1.5" y="1.5" width="9" height="9" rx="1"/>',
  starting: '<path d="M6 1.5A4.5 4.5 0 1 1 1.5 6" fill="none" stroke="currentColor" stroke-width="2.4"/>',
  unknown:
    '<circle cx="6" cy="6" r="4.5" fill="none" stroke="currentColor" stroke-width="1.6" stroke-dasharray="2.6 2.2"/>',
};

export function lamp() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 12 12");
  svg.setAttribute("width", "12");
  svg.setAttribute("height", "12");
  svg.setAttribute("aria-hidden", "true");
  return svg;
}

export function lightLamp(svg, state) {
  if (svg.dataset.state === state) return;
  svg.dataset.state = state;
  svg.setAttribute("class", `lamp lamp-${state}`);
  svg.innerHTML = LAMPS[state];
}
