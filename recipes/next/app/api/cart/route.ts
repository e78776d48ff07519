import { webSessions } from "sojourn/web";
import { isSecure, sessions } from "../../../lib/sessions";

export const GET = webSessions(sessions, (_request, session) => {
  return Response.json({ principal: session.principal, cart: session.get("cart") ?? [] });
});

export const POST = webSessions(
  sessions,
  async (request, session) => {
    const { item } = (await request.json()) as { item: string };
    // Atomic, on however many servers: parallel requests lose nothing.
    return Response.json({ cart: await session.update("cart", (cart = []) => [...cart, item]) });
  },
  { isSecure },
);
