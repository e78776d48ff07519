"use server";

import { redirect } from "next/navigation";
import { changeSession } from "../lib/server";

export async function login(form: FormData): Promise<void> {
  // A new id at login; the old one can no longer write. Check a password here.
  await changeSession((session) => session.renew({ principal: String(form.get("user")) }));
  redirect("/");
}
