/** The two pages. Everything that came from a browser is escaped: a device's name is whatever it says it is. */

export interface Device {
  readonly key: string;
  readonly name: string;
  readonly lastSeen: Date;
  readonly isThisOne: boolean;
}

export function signInPage(): string {
  return page(
    "Sign in",
    `<form method="post" action="/sign-in"><input name="user" placeholder="name" autofocus required> <button>Sign in</button></form>`,
  );
}

export function devicesPage(user: string, server: string, devices: readonly Device[]): string {
  const rows = devices.map(({ key, name, lastSeen, isThisOne }) => {
    const end = isThisOne ? "this device" : button("/end", "End this one", key);
    return `<tr><td>${escaped(name)}</td><td>${lastSeen.toISOString()}</td><td>${end}</td></tr>`;
  });
  return page(
    `${escaped(user)} is signed in on ${devices.length} ${devices.length === 1 ? "device" : "devices"}`,
    `<table>${rows.join("")}</table>
     <p>${button("/sign-out", "Sign out here")} ${button("/end-others", "End all others")} ${button("/end-all", "End all")}</p>
     <p>answered by server ${escaped(server)}</p>`,
  );
}

function button(action: string, label: string, key?: string): string {
  const field = key === undefined ? "" : `<input type="hidden" name="key" value="${escaped(key)}">`;
  return `<form method="post" action="${action}" style="display:inline">${field}<button>${label}</button></form>`;
}

function page(title: string, content: string): string {
  return `<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title>
    <body style="font:1rem/1.6 system-ui;max-width:44rem;margin:3rem auto;padding:0 1rem"><h1>${title}</h1>${content}`;
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
