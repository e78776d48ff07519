/** Puts the page together. Each part has a file of its own and knows only the session or its own corner. */
import { Experiments } from "./experiments.js";
import { Log } from "./log.js";
import { Servers } from "./servers.js";
import { ShopSession } from "./session.js";
import { showAffinity, showStrategy, startAffinity, startLanguage, startTheme } from "./settings.js";
import { ShopFloor } from "./shop-floor.js";

const session = new ShopSession();
const servers = new Servers();
const log = new Log();

const floor = new ShopFloor(session);
new Experiments(session);

startLanguage(() => {
  floor.draw();
  if (servers.strategy !== null) showStrategy(servers.strategy, servers.store);
});
startTheme();
startAffinity();

session.addEventListener("view", () => floor.draw());
session.addEventListener("request", ({ detail }) => {
  log.add(detail);
  if (detail.server === null) servers.lookSoon();
  else servers.markAnswering(detail.server);
});
servers.addEventListener("strategy", () => {
  showStrategy(servers.strategy, servers.store);
  showAffinity(servers.strategy);
});
// What a death did to the session is the question, so it is asked at once, whoever killed.
servers.addEventListener("death", () => void session.refresh());

await Promise.all([servers.start(), session.refresh()]);
document.documentElement.dataset.ready = "";
