/** The one page: forms and no script. */

export type Cart = Readonly<Record<string, number>>;

export const GOODS: readonly string[] = ["tea", "cups", "honey"];

export function shopPage(server: string, user: string | null, cart: Cart): string {
  const goods = GOODS.map((good) => button(`/cart/${good}`, `Add ${good}`)).join(" ");
  const lines = Object.entries(cart).map(([good, count]) => `<li>${count} × ${escaped(good)}</li>`);
  const account =
    user === null
      ? `<form method="post" action="/login"><input name="user" placeholder="name" required> <button>Log in</button></form>`
      : `<p>${escaped(user)} ${button("/logout", "Log out")} ${button("/logout-everywhere", "Log out everywhere")}</p>`;
  return `<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Shop</title>
    <body style="font:1rem/1.6 system-ui;max-width:40rem;margin:3rem auto;padding:0 1rem">
    <h1>Shop</h1>${account}<p>${goods}</p><ul>${lines.join("")}</ul><p>answered by server ${escaped(server)}</p>`;
}

function button(action: string, label: string): string {
  return `<form method="post" action="${action}" style="display:inline"><button>${label}</button></form>`;
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
