/**
 * What runs inside Redis: one script per operation, each on the keys of one session, or of one principal.
 *
 *   <prefix>:s:{key}     a live session: a hash.   :m  1 birth created absolute touched expires delivered physical logical lineage
 *                                                  :p  principal; absent: none
 *                                                  :o  remembered operations: \n id time length answer
 *                                                  a<name>  epoch.counter.physical.logical, a space, the value
 *                        not live: a string.       S|X|N until successor length \n operations
 *                                                  S superseded, X ended, N only operations
 *   <prefix>:s:{key}:w   written before a WAIT, for a second
 *   <prefix>:s:{key}:f   the frozen hash of a superseded session, for its grace or as long as its operation is remembered
 *
 * Times are the server's, ms. Only live sessions are hashes under their own name, so SCAN … TYPE hash finds them.
 *
 * Flags: reads carry no `no-writes`, so a fenced or demoted primary refuses them, too; what makes nothing larger carries
 * `allow-oom`, so a full server still reads, touches and ends.
 *
 * An epoch is made of `master_replid`, new after each start and fail-over, and of the session's birth: a key that came
 * back after FLUSHALL is another birth, so no version is ever issued twice.
 */
import { createHash } from "node:crypto";
import { OPERATION_ID_KEPT_MS } from "../../store/store.ts";

/** Head of each attribute: 16 + 8 + 11 + 4 hex characters, dots and a space. */
export const ATTRIBUTE_HEAD_LENGTH = 43;
/** Of a key whose absolute deadline nobody knows, and of a principal's ending: the default absolute timeout and an hour. */
export const UNKNOWN_KEPT_MS = 13 * 3_600_000;
/** However far the absolute deadline is. */
export const TOMBSTONE_MAX_MS = 30 * 24 * 3_600_000;
/** A little longer than promised: an answer may be on its way when it is asked for again. */
const OPERATION_KEPT_MS = OPERATION_ID_KEPT_MS + 1_000;

/** The braces keep whatever belongs to one session in one slot of a cluster. */
export function sessionName(prefix: string, key: string): string {
  return `${prefix}:s:{${key}}`;
}

export interface Script {
  readonly source: string;
  readonly sha: string;
}

export function script(flags: string, source: string): Script {
  const text = `#!lua${flags && ` flags=${flags}`}\n${source.trim()}\n`;
  return { source: text, sha: createHash("sha1").update(text).digest("hex") };
}

export const NOW = `
local t=redis.call('TIME')
local now=t[1]*1000+math.floor(t[2]/1000)
local key=KEYS[1]
`;

/** Remembered operations. `op` is a local of the script. */
export const OPERATIONS = `
local function known(ops)
  local s,e=string.find(ops,'\\n'..op..' ',1,true)
  if not e then return end
  local at,len,p=string.match(ops,'^(%d+) (%d+) ()',e+1)
  return string.sub(ops,p,p+len-1),s,p+len,at+0
end
local function noted(ops,answer)
  local p=1
  while p<=#ops do
    local at,len,q=string.match(ops,'^\\n%S+ (%d+) (%d+) ()',p)
    if now-at<=${OPERATION_KEPT_MS} then break end
    p=q+len
  end
  if p>1 then ops=string.sub(ops,p) end
  return ops..'\\n'..op..' '..now..' '..#answer..' '..answer
end
`;

/** The state of the key: L(ive), A(bsent), N, S, X. */
const STATE = `
local r=redis.pcall('HMGET',key,':m',':o',':p')
local state,m,ops,principal,til,succ='A',nil,'',nil,0,'-'
if r.err then
  local s=redis.call('GET',key)
  local st,u,su,len,p=string.match(s,'^(%u) (%d+) (%S+) (%d+)\\n()')
  if not st then return redis.error_reply('UNREADABLE session') end
  state,til,succ,ops=st,u+0,su,string.sub(s,p,p+len-1)
elseif r[1] then
  state,m,ops,principal='L',r[1],r[2] or '',r[3] or nil
end
local birth,created,abs,touched,exp,delivered,phys,log,lineage
if m then
  birth,created,abs,touched,exp,delivered,phys,log,lineage=string.match(m,'^1 (%x+) (%-?%d+) (%d+) (%d+) (%d+) (%d) (%d+) (%d+) (.+)$')
  if not birth then return redis.error_reply('UNREADABLE session') end
  abs,exp,phys,log=abs+0,exp+0,phys+0,log+0
end
local function put(st,u,su,...)
  redis.call('SET',key,st..' '..u..' '..su..' '..#ops..'\\n'..ops,...)
end
local function note(answer)
  ops=noted(ops,answer)
  if state=='L' then redis.call('HSET',key,':o',ops)
  elseif state=='A' or state=='N' then put('N',0,'-','PX',${OPERATION_KEPT_MS})
  else put(state,til,succ,'KEEPTTL') end
end
local function buried()
  return math.min(abs+3600000,now+${TOMBSTONE_MAX_MS})
end
local function finish()
  if state=='L' then
    redis.call('DEL',key)
    put('X',0,'-','PXAT',buried())
  elseif state=='S' then
    redis.call('PEXPIRE',key..':f',${OPERATION_KEPT_MS},'LT')
    put('X',0,succ,'KEEPTTL')
  elseif state~='X' then
    put('X',0,'-','PX',${UNKNOWN_KEPT_MS})
  end
end
local function all(k)
  local a=redis.call('HGETALL',k)
  for i=1,#a,2 do if a[i]==':o' then a[i+1]='' break end end
  return a
end
local function meta()
  return '1 '..birth..' '..created..' '..abs..' '..touched..' '..exp..' '..delivered..' '..phys..' '..log..' '..lineage
end
`;

const REPLICATION = `
local info=redis.call('INFO','replication')
local slaves=string.match(info,'connected_slaves:(%d+)')+0
`;

/** Writes `from`, pairs of ARGV, as attributes of this commit. */
const COMMIT = `
local function epochOf(b)
  local id=string.match(redis.call('INFO','replication'),'master_replid:(%x+)')
  return string.sub(redis.sha1hex(id..b),1,16)
end
local function store(first,pairs,head,fields)
  for i=first,first+2*pairs-1,2 do
    fields[#fields+1]='a'..ARGV[i]
    fields[#fields+1]=head..ARGV[i+1]
    if #fields>=2000 then redis.call('HSET',key,unpack(fields)) fields={} end
  end
  if #fields>0 then redis.call('HSET',key,unpack(fields)) end
end
local function headOf(e,c)
  return string.format('%s.%08x.%011x.%04x ',e,c,phys,log)
end
`;

export const LATE = `
if now>by+0 then return {now,'l'} end
`;

/** ARGV: none. Reply: now when there is nothing; the fields and now; or the frozen fields, "until successor" and now. */
export const READ = script(
  "allow-oom",
  `${NOW}
local a=redis.pcall('HGETALL',key)
local tail
if a.err then
  local st,u,su=string.match(redis.call('GET',key),'^(%u) (%d+) (%S+)')
  if st~='S' or u+0<=now then return now end
  tail=u..' '..su
  a=redis.call('HGETALL',key..':f')
end
if #a==0 then return now end
for i=1,#a,2 do if a[i]==':o' then a[i+1]='' break end end
if tail then a[#a+1]=tail end
a[#a+1]=now
return a`,
);

/** ARGV: "by op birth created expires absolute doomed(0|1) principal", then names and values. */
export const CREATE = script(
  "",
  `${NOW}
local by,op,b,cr,ex,ab,doomed,pf,p=string.match(ARGV[1],'^(%d+) (%S+) (%x+) (%-?%d+) (%d+) (%d+) (%d) ([-+])(.*)$')
${LATE}${OPERATIONS}${STATE}
local answer=known(ops)
if answer then return {now,answer} end
if state~='A' and state~='N' then note('t') return {now,'t'} end
if doomed=='1' then note('g') return {now,'g'} end
${COMMIT}
birth,created,abs,touched,delivered,phys,log=b,cr,ab+0,now,0,now,0
exp=math.min(ex+0,abs)
local epoch=epochOf(birth)
lineage=epoch..'.1'
answer='c'..epoch..' 1'
if state=='N' then redis.call('DEL',key) end
local fields={':m',meta(),':o',noted(ops,answer)}
if pf=='+' then fields[5]=':p' fields[6]=p end
store(2,(#ARGV-1)/2,headOf(epoch,1),fields)
redis.call('PEXPIREAT',key,exp)
return {now,answer}`,
);

/**
 * ARGV: "by op atLeastEpoch atLeastCounter expires(-: as it is) doomed sets deletes principal", names and values, names, then
 * expectations: name and "epoch.counter", empty for absent.
 */
const APPLY_BODY = (grows: string) => `${NOW}
local by,op,ae,ac,ex,doomed,sets,dels,pf,p=string.match(ARGV[1],'^(%d+) (%S+) (%S+) (%d+) (%S+) (%d) (%d+) (%d+) ([-+=])(.*)$')
${LATE}${OPERATIONS}${STATE}
local answer=known(ops)
if answer then
  if string.sub(answer,1,1)=='k' then return {now,'k',cmsgpack.unpack(string.sub(answer,2))} end
  return {now,answer}
end
if state~='L' then note('g') return {now,'g'} end
if ae~='-' then
  local c=string.match(lineage,ae..'%.(%d+)')
  if not c or c+0<ac+0 then note('b') return {now,'b'} end
end
local firstDelete=2+2*sets
local firstExpect=firstDelete+dels
for i=firstExpect,#ARGV,2 do
  local v=redis.call('HGET',key,'a'..ARGV[i])
  if (v and string.sub(v,1,25) or '')~=ARGV[i+1] then
    local a=all(key)
    note('k'..cmsgpack.pack(a))
    return {now,'k',a}
  end
end
if doomed=='1' then
  ops=noted(ops,'g')
  finish()
  return {now,'g'}
end
${grows}${COMMIT}
local epoch=epochOf(birth)
local le,lc=string.match(lineage,'(%x+)%.(%d+)$')
local counter=1
if le==epoch then
  counter=lc+1
  lineage=string.sub(lineage,1,#lineage-#lc)..counter
else
  local s,e,c=string.find(lineage,epoch..'%.(%d+) ?')
  if s then
    counter=c+1
    lineage=string.sub(lineage,1,s-1)..string.sub(lineage,e+1)
  end
  lineage=lineage..' '..epoch..'.'..counter
  local _,n=string.gsub(lineage,'%S+','')
  if n>8 then lineage=string.match(lineage,'^%S+ (.*)$') end
end
if now>phys then phys,log=now,0 else log=log+1 end
if log>65535 then phys,log=phys+1,0 end
touched,delivered=now,1
local moved=ex~='-' and math.min(math.max(exp,ex+0),abs) or exp
local hasMoved=moved~=exp
exp=moved
for i=firstDelete,firstExpect-1 do redis.call('HDEL',key,'a'..ARGV[i]) end
local fields={':m',meta(),':o',noted(ops,'a'..epoch..' '..counter..' '..exp)}
if pf=='+' then fields[5]=':p' fields[6]=p
elseif pf=='-' then redis.call('HDEL',key,':p') end
store(2,sets+0,headOf(epoch,counter),fields)
if hasMoved then redis.call('PEXPIREAT',key,exp) end
return {now,'m'..redis.call('HMGET',key,':m')[1]}`;

export const APPLY = script("", APPLY_BODY(""));

/** For a server at its memory limit: as APPLY, but answers f(ull) unless names and values together become no larger. */
export const APPLY_FULL = script(
  "allow-oom",
  APPLY_BODY(`
local more=0
local seen={}
if pf=='+' then more=more+#p-#(principal or '') end
for i=2,firstDelete-1,2 do
  local n='a'..ARGV[i]
  local was=redis.call('HSTRLEN',key,n)
  if was>0 then more=more+#ARGV[i+1]-(was-${ATTRIBUTE_HEAD_LENGTH}) else more=more+#ARGV[i]+#ARGV[i+1] end
  seen[n]=true
end
for i=firstDelete,firstExpect-1 do
  local n='a'..ARGV[i]
  if not seen[n] then
    local was=redis.call('HSTRLEN',key,n)
    if was>0 then more=more-#ARGV[i]-(was-${ATTRIBUTE_HEAD_LENGTH}) end
  end
end
if more>0 then return {now,'f'} end
`),
);

/** ARGV: "by op expires". Reply: now, 1 or 0; and of a session with a principal the absolute deadline and it. */
export const TOUCH = script(
  "allow-oom",
  `${NOW}
local by,op,ex=string.match(ARGV[1],'^(%d+) (%S+) (%d+)$')
${LATE}${OPERATIONS}${STATE}
local answer=known(ops)
if answer then return {now,answer} end
if state~='L' then note('0') return {now,'0'} end
local moved=math.min(math.max(exp,ex+0),abs)
local hasMoved=moved~=exp
exp,touched,delivered=moved,now,1
redis.call('HSET',key,':m',meta(),':o',noted(ops,'1'))
if hasMoved then redis.call('PEXPIREAT',key,exp) end
return {now,'1',principal and abs,principal}`,
);

/**
 * Ends. ARGV: "by op mode principal", modes: d(estroy); p: only a session of this principal; u: only an undelivered or
 * unborn one; r: as d, and the remembered answer of this very operation becomes "gone".
 * Reply: now, 1 live | 2 superseded | 0, replicas, successor (mode p: the state), principal.
 */
export const DESTROY = script(
  "allow-oom",
  `${NOW}
local by,op,mode,p=string.match(ARGV[1],'^(%d+) (%S+) (%l)(.*)$')
${LATE}${OPERATIONS}${STATE}${REPLICATION}
local answer,s,e=known(ops)
if mode=='r' then
  if answer then ops=string.sub(ops,1,s-1)..string.sub(ops,e) end
  ops=noted(ops,'g')
  finish()
  if state=='X' then put('X',0,succ,'KEEPTTL') end
  return {now,'1',slaves,'-'}
end
if answer then return {now,answer,slaves,succ} end
if mode=='p' then
  local owner=principal
  if state=='S' then owner=redis.call('HGET',key..':f',':p') end
  if owner~=p then return {now,'0',slaves,state} end
elseif mode=='u' and (state=='L' or state=='S') then
  local m2=m or redis.call('HGET',key..':f',':m') or ''
  if string.match(m2,'^1 %x+ %-?%d+ %d+ %d+ %d+ 1') then return {now,'0',slaves,succ} end
end
answer='0'
if state=='L' then answer='1' elseif state=='S' and til>now then answer='2' end
ops=noted(ops,answer)
finish()
if state=='X' then put('X',0,succ,'KEEPTTL') end
return {now,answer,slaves,succ,principal}`,
);

/**
 * ARGV: "by op graceMs successor verified": `verified` is the successor that the driver found not ended, or -.
 * Reply: now, g | v(erify) and the successor | s and the earlier successor, replicas, fields.
 */
export const SUPERSEDE = script(
  "allow-oom",
  `${NOW}
local by,op,grace,newer,verified=string.match(ARGV[1],'^(%d+) (%S+) (%d+) (%S+) (%S+)$')
${LATE}${OPERATIONS}${STATE}${REPLICATION}
local answer=known(ops)
if answer then
  if answer=='g' then return {now,'g'} end
  return {now,answer,slaves,all(key..':f')}
end
local untilMs
if state=='L' then
  untilMs=math.min(now+grace,exp)
  answer='s-'
  redis.call('RENAME',key,key..':f')
elseif state=='S' and til>now then
  if verified~=succ then return {now,'v'..succ} end
  untilMs=math.min(now+grace,til)
  answer='s'..succ
else
  note('g')
  return {now,'g'}
end
redis.call('PEXPIREAT',key..':f',math.max(untilMs,now+${OPERATION_KEPT_MS}))
ops=noted(ops,answer)
if state=='L' then put('S',untilMs,newer,'PXAT',buried()) else put('S',untilMs,newer,'KEEPTTL') end
return {now,answer,slaves,all(key..':f')}`,
);

/** Reply: now, the state, and the successor. */
export const LOOK = script(
  "allow-oom",
  `${NOW}
local ty=redis.call('TYPE',key).ok
if ty~='string' then return {now,ty=='hash' and 'L' or 'A','-'} end
local st,su=string.match(redis.call('GET',key),'^(%u) %d+ (%S+)')
return {now,st,su}`,
);

/** For listings. Reply: now, and of a live session its head, "-" or "+principal", number and bytes of its attributes. */
export const SUMMARY = script(
  "allow-oom",
  `${NOW}
if redis.call('TYPE',key).ok~='hash' then return {now} end
local a=redis.call('HGETALL',key)
local m,p,n,bytes='','-',0,0
for i=1,#a,2 do
  local first=string.byte(a[i])
  if first==97 then
    n=n+1
    bytes=bytes+#a[i]-1+#a[i+1]-${ATTRIBUTE_HEAD_LENGTH}
  elseif a[i]==':m' then m=a[i+1]
  elseif a[i]==':p' then p='+'..a[i+1] end
end
return {now,m,p,n,bytes}`,
);

/** A write that replicas will hear of, next to the session in its slot. */
export const BARRIER = script("allow-oom", `return redis.call('SET',KEYS[1]..':w','','PX',1000)`);
