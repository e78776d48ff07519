/** A browser as far as tests need one: keeps cookies, whichever server of an application set them; follows nothing. */

export interface VisitorOptions {
  readonly userAgent?: string;
}

export class Visitor {
  readonly #jar = new Map<string, string>();
  readonly #userAgent: string;

  constructor({ userAgent = "a test" }: VisitorOptions = {}) {
    this.#userAgent = userAgent;
  }

  get(url: string): Promise<Response> {
    return this.send("GET", url);
  }

  /** @param form  sent as a browser sends a form */
  post(url: string, form: Readonly<Record<string, string>> = {}): Promise<Response> {
    return this.send("POST", url, new URLSearchParams(form));
  }

  postJson(url: string, value: unknown): Promise<Response> {
    return this.send("POST", url, JSON.stringify(value), { "content-type": "application/json" });
  }

  async send(
    method: string,
    url: string,
    body: URLSearchParams | string | null = null,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Response> {
    const cookie = [...this.#jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const answer = await fetch(url, {
      method,
      body,
      redirect: "manual",
      headers: { ...headers, "user-agent": this.#userAgent, ...(cookie === "" ? {} : { cookie }) },
    });
    for (const line of answer.headers.getSetCookie()) this.#keep(line);
    return answer;
  }

  #keep(line: string): void {
    const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
    if (/; *(?:max-age=0|expires=thu, 01 jan 1970)/i.test(line)) this.#jar.delete(name);
    else this.#jar.set(name, value);
  }
}
