/** Sessions where there is no `Request`: server components read one, server actions change one. */
import { cookies, headers } from "next/headers";
import type { Session } from "sojourn";
import { type Data, isSecure, sessions } from "./sessions";

/** For server components. They cannot set cookies, so whatever needs one throws LATE_WRITE. */
export async function readSession<T>(read: (session: Session<Data>) => T | Promise<T>): Promise<T> {
  const cookie = (await headers()).get("cookie") ?? undefined;
  const scope = sessions().open({ cookie, secure: true, headersSent: true });
  try {
    return await read(await scope.session());
  } finally {
    scope.close();
  }
}

/** For server actions: commits before it resolves. Call `redirect()` after it, not within. */
export async function changeSession<T>(change: (session: Session<Data>) => T | Promise<T>): Promise<T> {
  const incoming = await headers();
  const cookie = incoming.get("cookie") ?? undefined;
  const scope = sessions().open({ cookie, secure: isSecure({ headers: incoming }) });
  try {
    const result = await change(await scope.session());
    const outcome = await scope.settle();
    for (const line of outcome?.setCookies ?? []) await setCookie(line);
    if (outcome?.ok === false) throw new Error(`The session could not be stored: ${outcome.code}`);
    return result;
  } finally {
    scope.close();
  }
}

/** Next.js takes cookies in parts. */
async function setCookie(line: string): Promise<void> {
  const [pair = "", ...attributes] = line.split("; ");
  const equals = pair.indexOf("=");
  const options: Record<string, string> = {};
  for (const attribute of attributes) {
    const [name = "", value = "true"] = attribute.split("=");
    options[name.toLowerCase()] = value;
  }
  (await cookies()).set(pair.slice(0, equals), pair.slice(equals + 1), {
    path: options.path,
    domain: options.domain,
    httpOnly: "httponly" in options,
    secure: "secure" in options,
    sameSite: options.samesite?.toLowerCase() as "strict" | "lax" | "none" | undefined,
    ...(options["max-age"] === undefined ? {} : { maxAge: Number(options["max-age"]) }),
  });
}
