/**
 * Which of Redis Cluster's 16,384 slots a key is in: CRC16 (XMODEM) of the part in braces.
 *
 * Source: Redis Cluster specification, appendix A.
 */
const TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  return crc;
});

/** @param key  ASCII, as all names of this driver are */
export function slotOf(key: string): number {
  const open = key.indexOf("{");
  const close = open < 0 ? -1 : key.indexOf("}", open + 1);
  const [from, to] = close > open + 1 ? [open + 1, close] : [0, key.length];
  let crc = 0;
  for (let index = from; index < to; index++) {
    crc = ((crc << 8) ^ (TABLE[((crc >> 8) ^ key.charCodeAt(index)) & 0xff] as number)) & 0xffff;
  }
  return crc & 0x3fff;
}
