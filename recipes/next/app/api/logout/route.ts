import { isSecure, sessions } from "../../../lib/sessions";

/** Without the helper: open, change, respond. */
export async function POST(request: Request): Promise<Response> {
  const scope = sessions().open(request, { secure: isSecure(request) });
  const session = await scope.session();
  await session.destroy();
  return scope.respond(Response.redirect(new URL("/", request.url), 303));
}
