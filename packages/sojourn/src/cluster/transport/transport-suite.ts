/** The `Transport` contract as tests: data and `node:assert`, like the store's. TCP, TLS and memory pass the same. */
import assert from "node:assert/strict";
import type { SessionError } from "../../core/errors.ts";
import type {
  Address,
  Connection,
  ConnectionHandler,
  Listener,
  ListenOptions,
  Transport,
} from "./transport.ts";

export interface TransportHarness {
  readonly server: Transport;
  readonly client: Transport;
  /** Resolves once `condition` holds; rejects after a while. Lets time pass if time is not real. */
  until(condition: () => boolean, what: string): Promise<void>;
}

export interface TransportCase {
  readonly name: string;
  run(harness: TransportHarness): Promise<void>;
}

const HOST = "127.0.0.1";

/** What happened at one side of a connection. */
class Side implements ConnectionHandler {
  connection!: Connection;
  readonly frames: Buffer[] = [];
  isOpen = false;
  isClosed = false;
  drains = 0;
  error: SessionError | undefined;
  onFrame: ((frame: Buffer) => void) | undefined;

  opened(): void {
    this.isOpen = true;
  }

  frame(frame: Buffer): void {
    this.frames.push(Buffer.from(frame));
    this.onFrame?.(frame);
  }

  drained(): void {
    this.drains++;
  }

  closed(error: SessionError | undefined): void {
    assert.equal(this.isClosed, false, "closed was told twice");
    this.isClosed = true;
    this.error = error;
  }
}

class Network {
  readonly harness: TransportHarness;
  readonly accepted: Side[] = [];
  readonly #sides: Side[] = [];
  listener!: Listener;

  constructor(harness: TransportHarness) {
    this.harness = harness;
  }

  async listen(options: ListenOptions = {}): Promise<void> {
    this.listener = await this.harness.server.listen(
      { host: HOST, port: 0 },
      (connection) => {
        const side = new Side();
        side.connection = connection;
        this.accepted.push(side);
        return side;
      },
      options,
    );
  }

  call(address: Address = this.listener.address): Side {
    const side = new Side();
    side.connection = this.harness.client.connect(address, side);
    this.#sides.push(side);
    return side;
  }

  /** A connection with both sides known and admitted. */
  async pair(frameBytesMax = 1024 * 1024): Promise<{ near: Side; far: Side }> {
    const before = this.accepted.length;
    const near = this.call();
    await this.harness.until(() => near.isOpen && this.accepted.length > before, "the connection stands");
    const far = this.accepted[before] as Side;
    near.connection.admit(frameBytesMax);
    far.connection.admit(frameBytesMax);
    return { near, far };
  }

  async end(): Promise<void> {
    for (const side of [...this.#sides, ...this.accepted]) side.connection.destroy();
    await this.listener?.stop();
  }
}

/** A case with a network of its own, ended whatever happens. */
function promise(name: string, check: (network: Network) => Promise<void>): TransportCase {
  return {
    name,
    async run(harness) {
      const network = new Network(harness);
      try {
        await check(network);
      } finally {
        await network.end();
      }
    },
  };
}

export const TRANSPORT_CASES: readonly TransportCase[] = [
  promise("frames arrive whole and in order, both ways at once", async (network) => {
    await network.listen();
    const { near, far } = await network.pair();
    const lengths = [1, 3, 4, 5, 1000, 65_535, 65_536, 300_000, 2];
    const frames = lengths.map((length, index) => Buffer.alloc(length, index + 1));
    for (const frame of frames) {
      near.connection.send(frame);
      far.connection.send(frame);
    }
    await network.harness.until(
      () => near.frames.length === frames.length && far.frames.length === frames.length,
      "all frames are there",
    );
    assert.deepEqual(near.frames, frames);
    assert.deepEqual(far.frames, frames);
  }),
  promise("what was sent before close() arrives; then both sides end without an error", async (network) => {
    await network.listen();
    const { near, far } = await network.pair();
    near.connection.send(Buffer.alloc(500_000, 7));
    near.connection.send(Buffer.from("last"));
    near.connection.close();
    near.connection.send(Buffer.from("after the end"));
    await network.harness.until(() => near.isClosed && far.isClosed, "both sides are closed");
    assert.deepEqual(
      far.frames.map((frame) => frame.length),
      [500_000, 4],
    );
    assert.deepEqual([near.error, far.error], [undefined, undefined]);
  }),
  promise("destroy() tells its own side the reason and the other side that it is over", async (network) => {
    await network.listen();
    const { near, far } = await network.pair();
    const { SessionError } = await import("../../core/errors.ts");
    near.connection.destroy(new SessionError("INVALID_FRAME", "a test"));
    await network.harness.until(() => near.isClosed && far.isClosed, "both sides are closed");
    assert.equal(near.error?.message, "a test");
  }),
  promise("until it is admitted a caller may send small frames only", async (network) => {
    await network.listen();
    const near = network.call();
    await network.harness.until(() => near.isOpen && network.accepted.length > 0, "the connection stands");
    const far = network.accepted[0] as Side;
    near.connection.send(Buffer.alloc(4096));
    near.connection.send(Buffer.alloc(4097));
    await network.harness.until(() => far.isClosed && near.isClosed, "the connection is cut");
    assert.deepEqual(
      far.frames.map((frame) => frame.length),
      [4096],
    );
    assert.equal(far.error?.code, "INVALID_FRAME");
  }),
  promise("a frame above the admitted size cuts its connection and no other", async (network) => {
    await network.listen();
    const [wild, tame] = [await network.pair(10_000), await network.pair(10_000)];
    wild.near.connection.send(Buffer.alloc(10_001));
    await network.harness.until(() => wild.far.isClosed, "the wild one is cut");
    assert.equal(wild.far.error?.code, "INVALID_FRAME");
    tame.near.connection.send(Buffer.alloc(10_000));
    await network.harness.until(() => tame.far.frames.length === 1, "the tame one goes on");
  }),
  promise("a handler that refuses a frame gets no more of that connection", async (network) => {
    await network.listen();
    const { near, far } = await network.pair();
    const { invalidFrame } = await import("../wire/bytes.ts");
    far.onFrame = () => {
      throw invalidFrame("a test");
    };
    near.connection.send(Buffer.from("1"));
    near.connection.send(Buffer.from("2"));
    await network.harness.until(() => far.isClosed && near.isClosed, "the connection is cut");
    assert.equal(far.frames.length, 1);
    assert.equal(far.error?.code, "INVALID_FRAME");
  }),
  promise("connecting with nobody ends in closed with a reason, and throws nothing", async (network) => {
    await network.listen();
    const { address } = network.listener;
    await network.listener.stop();
    const near = network.call(address);
    await network.harness.until(() => near.isClosed, "the connection failed");
    assert.equal(near.isOpen, false);
    assert.equal(near.error?.code, "STORE_UNAVAILABLE");
    assert.match(near.error?.message ?? "", /nothing listens there/);
  }),
  promise("a port in use is refused with PORT_TAKEN, naming it", async (network) => {
    await network.listen();
    const { address } = network.listener;
    await assert.rejects(
      network.harness.server.listen(address, () => new Side()),
      (error: SessionError) => error.code === "PORT_TAKEN" && error.message.includes(`${address.port}`),
    );
  }),
  promise("one half-open connection too many evicts the oldest; admitted ones stay", async (network) => {
    const reasons: string[] = [];
    await network.listen({
      limits: { halfOpenMax: 3 },
      refused: (reason) => reasons.push(reason.code),
    });
    const settled = await network.pair();
    const callers: Side[] = [];
    for (let index = 0; index < 4; index++) {
      callers.push(network.call());
      await network.harness.until(() => network.accepted.length === index + 2, "the caller is seen");
    }
    await network.harness.until(() => callers[0]?.isClosed === true, "the oldest is cut");
    await network.harness.until(() => callers.slice(1).every((caller) => caller.isOpen), "the others stand");
    assert.deepEqual(
      callers.map((caller) => caller.isClosed),
      [true, false, false, false],
    );
    assert.equal(settled.far.isClosed, false);
    assert.deepEqual(reasons, ["TOO_MANY_CONNECTIONS"]);
  }),
  promise("a caller that is not admitted in time is cut; an admitted one stays", async (network) => {
    await network.listen({ limits: { halfOpenTimeoutMs: 100 } });
    const settled = await network.pair();
    const late = network.call();
    await network.harness.until(() => late.isClosed, "the late one is cut");
    assert.equal(settled.near.isClosed, false);
  }),
  promise(
    "a side that does not read makes the other one queue, and tells it when it has caught up",
    async (network) => {
      await network.listen();
      const { near, far } = await network.pair(2 * 1024 * 1024);
      far.connection.setReading(false);
      const frame = Buffer.alloc(1024 * 1024, 3);
      for (let sent = 0; sent < 32; sent++) near.connection.send(frame);
      await network.harness.until(() => near.connection.queuedBytes > 1024 * 1024, "bytes are queued");
      far.connection.setReading(true);
      await network.harness.until(() => far.frames.length === 32 && near.drains > 0, "all of it arrived");
      assert.equal(near.connection.queuedBytes, 0);
    },
  ),
  promise("a pause holds between two frames that arrived together, and loses neither", async (network) => {
    await network.listen();
    const { near, far } = await network.pair();
    let whilePaused = 0;
    far.onFrame = () => {
      far.connection.setReading(false);
      whilePaused = far.frames.length;
    };
    for (let sent = 0; sent < 100; sent++) near.connection.send(Buffer.from([sent]));
    for (let read = 1; read <= 100; read++) {
      await network.harness.until(() => far.frames.length >= read, `frame ${read} arrived`);
      assert.equal(whilePaused, read);
      far.connection.setReading(true);
    }
    assert.deepEqual(
      far.frames.map((frame) => frame[0]),
      Array.from({ length: 100 }, (_, index) => index),
    );
  }),
  promise("stop() takes no more callers and leaves connections that stand alone", async (network) => {
    await network.listen();
    const { near, far } = await network.pair();
    const stopped = network.listener.stop();
    const late = network.call();
    await network.harness.until(() => late.isClosed, "the late caller is turned away");
    near.connection.send(Buffer.from("still here"));
    await network.harness.until(() => far.frames.length === 1, "the frame arrived");
    near.connection.close();
    await stopped;
    await network.harness.until(() => far.isClosed, "the connection is over");
  }),
];
