/**
 * The index of one principal, derived and self-cleaning. Names hold the principal's hash, so any text will do.
 *
 *   <prefix>:p:{hash}     sorted set: session key → its absolute deadline. Entered before a login is stored and again by
 *                         touches; an entry proves nothing, the session itself says whose it is
 *   <prefix>:p:{hash}:e   hash: at  when all sessions of the principal were last ended;  :o  remembered operations
 *
 * Both lie in one slot. Times are the server's, ms.
 */
import { LATE, NOW, OPERATIONS, script, UNKNOWN_KEPT_MS } from "./scripts.ts";

const HOUR_MS = 3_600_000;

const ENTERED = `
redis.call('ZADD',key,abs,session)
if redis.call('PEXPIRETIME',key)<abs+${HOUR_MS} then redis.call('PEXPIREAT',key,abs+${HOUR_MS}) end
`;

/**
 * A login, before it is stored. ARGV: "by session absolute ageMs". Reply: now, g(one: ended since the login began) or
 * o(k), and when it began.
 */
export const ENTER = script(
  "",
  `${NOW}
local by,session,abs,age=string.match(ARGV[1],'^(%d+) (%S+) (%d+) (%d+)$')
${LATE}
abs,age=abs+0,age+0
redis.call('ZREMRANGEBYSCORE',key,'-inf',now-${HOUR_MS})
local at=redis.call('HGET',key..':e','at')
if age>=${UNKNOWN_KEPT_MS} or (at and now-age<=at+0) then return {now,'g',now-age} end
${ENTERED}
return {now,'o',now-age}`,
);

/** A touch reached the session: should the index have lost it, it is there again. ARGV: "by session absolute". */
export const REENTER = script(
  "",
  `${NOW}
local by,session,abs=string.match(ARGV[1],'^(%d+) (%S+) (%d+)$')
${LATE}
abs=abs+0
${ENTERED}
return {now}`,
);

/** A login, after it was stored. ARGV: "by began". Reply: now, g or o. */
export const CHECK = script(
  "allow-oom",
  `${NOW}
local began=string.match(ARGV[1],'^%d+ (%d+)$')
local at=redis.call('HGET',key..':e','at')
return {now,at and began+0<=at+0 and 'g' or 'o'}`,
);

/** Begins an ending. ARGV: "by op". Reply: now, n and the first answer's number; or p(ending) and the session keys. */
export const MARK = script(
  "allow-oom",
  `${NOW}
local by,op=string.match(ARGV[1],'^(%d+) (%S+)$')
${LATE}${OPERATIONS}
local ended=key..':e'
local ops=redis.call('HGET',ended,':o') or ''
local answer=known(ops)
if answer and answer~='p' then return {now,answer} end
if not answer then
  redis.call('HSET',ended,'at',now,':o',noted(ops,'p'))
  redis.call('PEXPIRE',ended,${UNKNOWN_KEPT_MS})
end
return {now,'p',redis.call('ZRANGE',key,0,-1)}`,
);

/** Finishes an ending. ARGV: "by op count", session keys that ended. Reply: now, n and the number. */
export const FINISH = script(
  "allow-oom",
  `${NOW}
local by,op,count=string.match(ARGV[1],'^(%d+) (%S+) (%d+)$')
${OPERATIONS}
local ended=key..':e'
local ops=redis.call('HGET',ended,':o') or ''
local answer,s,e=known(ops)
if answer and answer~='p' then return {now,answer} end
if answer then ops=string.sub(ops,1,s-1)..string.sub(ops,e) end
redis.call('HSET',ended,':o',noted(ops,'n'..count))
for i=2,#ARGV do redis.call('ZREM',key,ARGV[i]) end
return {now,'n'..count}`,
);

/** ARGV: "by". Reply: now, and the session keys. */
export const MEMBERS = script(
  "allow-oom",
  `${NOW}
return {now,redis.call('ZRANGE',key,0,-1)}`,
);

/** The session is over for good. ARGV: "by session". */
export const LEAVE = script(
  "allow-oom",
  `${NOW}
redis.call('ZREM',key,string.match(ARGV[1],'^%d+ (%S+)$'))
return {now}`,
);
