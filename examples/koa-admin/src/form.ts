/** The fields of a small HTML form. */
import type { Context } from "koa";

const FORM_BYTES_MAX = 4096;

export async function formOf(ctx: Context): Promise<URLSearchParams> {
  let text = "";
  for await (const chunk of ctx.req.setEncoding("utf8")) {
    text += chunk;
    if (text.length > FORM_BYTES_MAX) ctx.throw(413);
  }
  return new URLSearchParams(text);
}
