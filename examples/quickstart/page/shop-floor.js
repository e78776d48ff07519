/** Goods, cart and account: the shop itself, drawn from the last answer. */
import { byId, h, setText } from "./dom.js";
import { artOf, attributeOf, cartOf, GOODS } from "./goods.js";
import { formatPrice, language, say } from "./words.js";

export class ShopFloor {
  #session;
  #cards = new Map();
  #lines = new Map();

  constructor(session) {
    this.#session = session;
    this.#buildGoods();
    byId("login").addEventListener("submit", (event) => {
      event.preventDefault();
      void session.login(byId("user").value.trim());
    });
    byId("logout").addEventListener("click", () => this.#then(session.logout(false)));
    byId("logout-everywhere").addEventListener("click", () => this.#then(session.logout(true)));
  }

  /** Draws the session's last answer; also after the language changed. */
  draw() {
    const { view } = this.#session;
    if (view === null) return;
    const cart = cartOf(view.attributes);
    this.#drawGoods(view.attributes);
    this.#drawCart(cart);
    this.#drawAccount(view);
    drawInside(view);
  }

  async #then(change) {
    await change;
    await this.#session.refresh();
  }

  #buildGoods() {
    for (const item of GOODS) {
      const name = h("span", { class: "good-name" });
      const count = h("span", { class: "good-count", "aria-hidden": "true" });
      const button = h(
        "button",
        { type: "button", class: "good" },
        h("span", { class: "good-art" }, artOf(item, 80), count),
        name,
        h("span", { class: "good-price" }, formatPrice(item.price)),
      );
      button.addEventListener("click", () => this.#then(this.#session.increment(attributeOf(item.id))));
      this.#cards.set(item.id, { button, name, count });
      byId("goods-list").append(h("li", {}, button));
    }
    this.#drawGoods({});
  }

  #drawGoods(attributes) {
    for (const item of GOODS) {
      const { button, name, count } = this.#cards.get(item.id);
      const quantity = attributes[attributeOf(item.id)] ?? 0;
      setText(name, item.names[language()]);
      setText(count, quantity > 0 ? String(quantity) : "");
      button.setAttribute(
        "aria-label",
        say("add", { name: item.names[language()], price: formatPrice(item.price) }),
      );
    }
  }

  /** Lines stay where they are between draws, so that the keyboard's place is kept. */
  #drawCart(cart) {
    for (const [id, line] of this.#lines) {
      if (cart.some(([item]) => item.id === id)) continue;
      line.row.remove();
      this.#lines.delete(id);
    }
    for (const [item, quantity] of cart) {
      if (!this.#lines.has(item.id)) this.#addLine(item);
      const { row, name, count, less, more, sum } = this.#lines.get(item.id);
      row.dataset.quantity = quantity;
      const words = { name: item.names[language()] };
      setText(name, words.name);
      setText(count, String(quantity));
      setText(sum, formatPrice(item.price * quantity));
      less.setAttribute("aria-label", say("less", words));
      more.setAttribute("aria-label", say("more", words));
    }
    const pieces = cart.reduce((total, [, quantity]) => total + quantity, 0);
    setText(byId("cart-count"), pieces > 0 ? String(pieces) : "");
    setText(
      byId("cart-total"),
      formatPrice(cart.reduce((total, [item, count]) => total + item.price * count, 0)),
    );
    byId("cart-empty").hidden = cart.length > 0;
  }

  #addLine(item) {
    const name = attributeOf(item.id);
    const line = {
      name: h("span", { class: "line-name" }),
      count: h("output", {}),
      sum: h("span", { class: "line-sum" }),
      less: h("button", { type: "button", class: "step" }, "−"),
      more: h("button", { type: "button", class: "step" }, "+"),
    };
    line.row = h(
      "li",
      { "data-product": item.id },
      artOf(item, 28),
      line.name,
      h("span", { class: "steps" }, line.less, line.count, line.more),
      line.sum,
    );
    line.more.addEventListener("click", () => this.#then(this.#session.increment(name)));
    line.less.addEventListener("click", () => {
      const left = Number(line.row.dataset.quantity) - 1;
      if (left < 1) byId("goods").focus({ preventScroll: true });
      void this.#then(left < 1 ? this.#session.delete(name) : this.#session.set(name, left));
    });
    this.#lines.set(item.id, line);
    const after = GOODS.slice(GOODS.indexOf(item) + 1).map(({ id }) => this.#lines.get(id)?.row);
    byId("cart").insertBefore(line.row, after.find((row) => row !== undefined) ?? null);
  }

  #drawAccount({ principal }) {
    const moved = byId("login").contains(document.activeElement) && principal !== null;
    byId("login").hidden = principal !== null;
    byId("logged-in").hidden = principal === null;
    setText(byId("principal"), principal ?? "");
    if (moved) byId("logout").focus();
  }
}

function drawInside({ version, principal, attributes }) {
  const rows = Object.entries({
    version: version ?? say("noSession"),
    principal: principal ?? "–",
    ...attributes,
  });
  byId("inside").replaceChildren(
    ...rows.map(([name, value]) =>
      h("div", {}, h("dt", {}, name), h("dd", {}, typeof value === "string" ? value : JSON.stringify(value))),
    ),
  );
}
