import { readSession } from "../lib/server";
import { login } from "./actions";

export default async function Page() {
  const { user, items } = await readSession((session) => ({
    user: session.principal ?? "stranger",
    items: session.get("cart")?.length ?? 0,
  }));
  return (
    <main>
      <p>
        Hello {user}, your cart holds {items}.
      </p>
      <form action={login}>
        <input name="user" />
        <button type="submit">Log in</button>
      </form>
    </main>
  );
}
