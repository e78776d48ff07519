/** Every word on the page, in both languages. `{name}` stands for what the caller brings. */
const WORDS = {
  en: {
    skip: "Skip to the goods",
    brand: "A shop on three servers",
    language: "Language",
    theme: "Switch between light and dark",
    strategy: "Strategy",
    "strategy.none": "None: every server for itself",
    "strategy.sticky": "Sticky sessions",
    "strategy.session-server": "Session server",
    "strategy.redis": "Redis",
    "sentence.none":
      "Each server keeps sessions in its own memory, and requests go round: what you are told depends on who answers.",
    "sentence.sticky":
      "Each server keeps sessions in its own memory, and the router sends you back to yours: when it dies, your session dies with it.",
    "sentence.session-server":
      "All servers share sessions through the session server: whoever answers knows you, and a server that dies takes nothing along.",
    "sentence.redis":
      "All servers share sessions through Redis at {store}: whoever answers knows you, and a server that dies takes nothing along.",
    thisBrowser: "This browser's requests",
    sticky: "Sticky",
    roundRobin: "Round robin",
    "hint.sticky": "back to the same server, by cookie",
    "hint.none": "to each server in turn",
    "hint.fixed": "the router runs without affinity here",
    answeredBy: "Answered by",
    requests: "Requests",
    lostSessions: "Lost sessions",
    lostSessionsMeaning: "the answer does not know a session this page was told exists",
    staleAnswers: "Stale answers",
    staleAnswersMeaning: "the answer differs from what this page was told is stored",
    servers: "Servers",
    "role.router": "Router",
    "role.shop": "Shop",
    "role.session-server": "Session server",
    "role.store": "Redis",
    "place.none": "own memory",
    "place.sticky": "own memory",
    "place.session-server": "shared sessions",
    "place.redis": "shared sessions",
    running: "Running",
    starting: "Starting",
    stopped: "Stopped",
    unknown: "Unknown",
    port: "port",
    perSecond: "{n}/s",
    sessions: "{n} sessions",
    "sessions.one": "1 session",
    kill: "Kill this server",
    start: "Bring it back",
    killLabel: "Kill this server: {name}",
    startLabel: "Bring it back: {name}",
    killed: "{name} is dead.",
    started: "{name} is back, with a new process.",
    lastShop: "The last shop stays: without it nobody would be left to show this page.",
    nobody: "No shop answers. In a terminal, this brings them all back: kill -USR2 {pid}",
    unreachable: "No answer. Is the quickstart still running?",
    goods: "Travel goods",
    add: "Add to the cart: {name}, {price}",
    account: "Account",
    userName: "Your name",
    login: "Log in",
    logout: "Log out",
    logoutEverywhere: "Log out everywhere",
    cart: "Cart",
    cartEmpty: "Nothing in it yet. Choose something, then kill the server that answered.",
    total: "Total",
    more: "One more: {name}",
    less: "One less: {name}",
    experiments: "Try",
    parallelAttributes: "5 parallel requests, 5 attributes",
    parallelCounter: "5 parallel requests, 1 counter",
    trafficStart: "Light traffic: 2 requests/s",
    trafficStop: "Stop the traffic ({n} s left)",
    running5: "5 requests are under way …",
    "result.kept": "5 of 5 updates kept.",
    "result.lost": "{n} of 5 updates kept, {lost} lost.",
    "result.failed": "{n} of 5 requests were refused; try again.",
    inside: "What the session holds",
    noSession: "no session",
    log: "Where each request went",
    clear: "Clear",
    time: "Time",
    request: "Request",
    server: "Server",
    status: "Status",
    version: "Version",
    lost: "lost",
    stale: "stale",
    new: "new",
    announceLost: "Session lost: {server} does not know you.",
    announceStale: "Stale answer from {server}.",
  },
  ko: {
    skip: "상품으로 건너뛰기",
    brand: "서버 세 대 위의 가게",
    language: "언어",
    theme: "밝은 화면과 어두운 화면 전환",
    strategy: "전략",
    "strategy.none": "없음: 서버마다 따로",
    "strategy.sticky": "스티키 세션",
    "strategy.session-server": "세션 서버",
    "strategy.redis": "Redis",
    "sentence.none":
      "서버마다 자기 메모리에 세션을 두고 요청은 차례로 돕니다. 누가 응답하느냐에 따라 내용이 달라지는 세션 불일치가 보입니다.",
    "sentence.sticky":
      "서버마다 자기 메모리에 세션을 두고 라우터가 늘 같은 서버로 보냅니다. 그 서버가 죽으면 세션도 함께 사라집니다.",
    "sentence.session-server":
      "모든 서버가 세션 서버를 통해 세션을 공유합니다. 누가 응답해도 나를 알고, 서버 하나가 죽어도 잃는 것이 없습니다.",
    "sentence.redis":
      "모든 서버가 {store}의 Redis를 통해 세션을 공유합니다. 누가 응답해도 나를 알고, 서버 하나가 죽어도 잃는 것이 없습니다.",
    thisBrowser: "이 브라우저의 요청",
    sticky: "스티키",
    roundRobin: "라운드 로빈",
    "hint.sticky": "쿠키를 따라 같은 서버로",
    "hint.none": "서버마다 차례로",
    "hint.fixed": "여기서는 라우터에 어피니티가 없습니다",
    answeredBy: "응답한 서버",
    requests: "요청",
    lostSessions: "잃은 세션",
    lostSessionsMeaning: "있다고 들은 세션을 모르는 응답",
    staleAnswers: "어긋난 응답",
    staleAnswersMeaning: "저장되었다고 들은 내용과 다른 응답",
    servers: "서버",
    "role.router": "라우터",
    "role.shop": "가게",
    "role.session-server": "세션 서버",
    "role.store": "Redis",
    "place.none": "자기 메모리",
    "place.sticky": "자기 메모리",
    "place.session-server": "세션 공유",
    "place.redis": "세션 공유",
    running: "실행 중",
    starting: "시작 중",
    stopped: "중지됨",
    unknown: "알 수 없음",
    port: "포트",
    perSecond: "초당 {n}",
    sessions: "세션 {n}",
    "sessions.one": "세션 1",
    kill: "이 서버 즉시 중지",
    start: "다시 살리기",
    killLabel: "이 서버 즉시 중지: {name}",
    startLabel: "다시 살리기: {name}",
    killed: "{name} 서버가 죽었습니다.",
    started: "{name} 서버가 새 프로세스로 돌아왔습니다.",
    lastShop: "마지막 가게는 남겨 둡니다. 이마저 없으면 이 화면을 보여 줄 서버가 없습니다.",
    nobody: "응답하는 가게가 없습니다. 터미널에서 모두 되살리기: kill -USR2 {pid}",
    unreachable: "응답이 없습니다. 퀵스타트가 아직 실행 중인가요?",
    goods: "여행 용품",
    add: "장바구니에 담기: {name}, {price}",
    account: "계정",
    userName: "이름",
    login: "로그인",
    logout: "로그아웃",
    logoutEverywhere: "모든 곳에서 로그아웃",
    cart: "장바구니",
    cartEmpty: "아직 비어 있습니다. 하나 담은 다음, 응답한 서버를 중지해 보세요.",
    total: "합계",
    more: "하나 더: {name}",
    less: "하나 빼기: {name}",
    experiments: "해 보기",
    parallelAttributes: "동시 요청 5개, 속성 5개",
    parallelCounter: "동시 요청 5개, 카운터 1개",
    trafficStart: "가벼운 트래픽: 초당 2건",
    trafficStop: "트래픽 멈추기 ({n}초 남음)",
    running5: "요청 5개를 보내는 중 …",
    "result.kept": "변경 5개 중 5개가 남았습니다.",
    "result.lost": "변경 5개 중 {n}개가 남고 {lost}개를 잃었습니다.",
    "result.failed": "5개 중 {n}개가 거절되었습니다. 다시 해 보세요.",
    inside: "세션에 든 것",
    noSession: "세션 없음",
    log: "요청이 간 곳",
    clear: "지우기",
    time: "시각",
    request: "요청",
    server: "서버",
    status: "상태",
    version: "버전",
    lost: "잃음",
    stale: "어긋남",
    new: "새로움",
    announceLost: "세션을 잃었습니다. {server} 서버는 당신을 모릅니다.",
    announceStale: "{server} 서버의 응답이 어긋납니다.",
  },
};

export const language = () => (document.documentElement.lang === "ko" ? "ko" : "en");

/** @returns the words for `key` in the page's language */
export function say(key, values = {}) {
  const text = WORDS[language()][key];
  if (text === undefined) throw new Error(`no words for "${key}"`);
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

/** Gives an element words that follow the language. */
export function label(element, key, values) {
  element.dataset.i18n = key;
  if (values === undefined) delete element.dataset.i18nValues;
  else element.dataset.i18nValues = JSON.stringify(values);
  const text = say(key, values);
  if (element.textContent !== text) element.textContent = text;
}

/** Puts every marked element into the page's language. */
export function translate() {
  for (const element of document.querySelectorAll("[data-i18n]")) {
    const { i18n, i18nValues } = element.dataset;
    element.textContent = say(i18n, i18nValues === undefined ? undefined : JSON.parse(i18nValues));
  }
  for (const element of document.querySelectorAll("[data-i18n-label]")) {
    element.setAttribute("aria-label", say(element.dataset.i18nLabel));
    element.title = say(element.dataset.i18nLabel);
  }
}

export const formatPrice = (won) => `₩${won.toLocaleString("en-US")}`;

/** Both languages have the same words: checked once, by the test of this page. */
export const wordKeys = () =>
  Object.fromEntries(Object.entries(WORDS).map(([name, words]) => [name, Object.keys(words)]));
