import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'libsql';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mlflowSink } from './mlflow.ts';
import { openSinks } from './open-sinks.ts';
import type { Fetch } from './remote.ts';
import type { SinkContext } from './sink.ts';
import { crc32c, encodeEvent, frame, tensorboardSink } from './tensorboard.ts';
import { trackioSink } from './trackio.ts';
import { wandbSink } from './wandb.ts';

let folder: string;
let warnings: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'heed-sinks-'));
  warnings = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const contextOf = (env: Record<string, string> = {}): SinkContext => ({
  folder,
  name: 'first',
  configText: 'model: tiny\n',
  now: () => 1_700_000_000_500,
  env,
  warn: (message) => warnings.push(message),
});

interface Call {
  readonly path: string;
  readonly headers: Record<string, string>;
  // biome-ignore lint/suspicious/noExplicitAny: whatever was sent
  readonly body: any;
}

/** A server that answers by path; what it has no answer for it refuses. */
function server(answers: Record<string, unknown>, failures = 0): { calls: Call[]; fetch: Fetch } {
  const calls: Call[] = [];
  let failing = failures;
  return {
    calls,
    fetch: async (url, init) => {
      const { pathname, search } = new URL(url);
      calls.push({
        path: pathname + search,
        headers: init.headers as Record<string, string>,
        body: init.body === undefined ? undefined : JSON.parse(String(init.body)),
      });
      if (failing > 0) {
        failing--;
        throw new Error('connection refused');
      }
      const answer = answers[pathname];
      return answer === undefined ? new Response('no such thing', { status: 404 }) : Response.json(answer);
    },
  };
}

describe('tensorboard', () => {
  it('knows CRC-32C', () => {
    // The check value of the polynomial in every catalogue of checksums.
    expect(crc32c(new TextEncoder().encode('123456789'))).toBe(0xe3069283);
    // RFC 3720, B.4: 32 bytes of zeros.
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  });

  it('writes the bytes that TensorBoard’s own writer does', () => {
    // EventFileWriter of tensorboard 2.21.0: test/golden/record-tensorboard.py.
    const golden = JSON.parse(
      readFileSync(new URL('../../../test/golden/data/tensorboard.json', import.meta.url), 'utf8'),
    ) as { version: string; frames: string[] };
    const hex = (data: Uint8Array): string => Buffer.from(frame(data)).toString('hex');
    expect([
      hex(encodeEvent({ seconds: 1_700_000_000.5, version: 'brain.Event:2' })),
      hex(
        encodeEvent({
          seconds: 1_700_000_001.25,
          step: 300,
          values: [
            ['loss', Math.LN2],
            ['rewards/margins', -1.5],
          ],
        }),
      ),
    ]).toEqual(golden.frames);
  });

  it('appends an event per record to one file of the run', async () => {
    const sink = tensorboardSink(contextOf());
    sink.log({ step: 1, loss: 2 });
    sink.log({ step: 2, loss: 1 });
    await sink.close('done');
    const [file, ...more] = readdirSync(join(folder, 'tensorboard'));
    expect(more).toEqual([]);
    expect(file).toMatch(/^events\.out\.tfevents\.1700000000\./);
    const bytes = readFileSync(join(folder, 'tensorboard', file!));
    let count = 0;
    for (let at = 0; at < bytes.length; count++) at += 16 + Number(bytes.readBigUInt64LE(at));
    expect(count).toBe(3);
  });
});

describe('run.db', () => {
  const metrics = () => {
    const database = new Database(join(folder, 'run.db'), { readonly: true } as object);
    const rows = database.prepare('SELECT step, name, value FROM metrics ORDER BY name, step').all();
    const events = database.prepare('SELECT event FROM events ORDER BY rowid').all() as { event: string }[];
    database.close();
    return {
      rows: (rows as { step: number; name: string; value: number }[]).map(({ step, name, value }) => [
        step,
        name,
        value,
      ]),
      events: events.map(({ event }) => event),
    };
  };

  it('holds every number, and after a resume the later of two', async () => {
    const first = await openSinks(['none'], contextOf());
    first.log({ step: 1, loss: 2 });
    first.log({ step: 2, loss: 1.5, 'rewards/margins': 0.25 });
    await first.close('interrupted');
    const second = await openSinks(['none'], contextOf());
    second.log({ step: 2, loss: 1.25 });
    await second.close('done');
    expect(metrics()).toEqual({
      rows: [
        [1, 'loss', 2],
        [2, 'loss', 1.25],
        [2, 'rewards/margins', 0.25],
      ],
      events: ['start', 'interrupted', 'start', 'done'],
    });
  });

  it('can be read while the run writes', async () => {
    const sink = await openSinks([], contextOf());
    sink.log({ step: 1, loss: 2 });
    expect(metrics().rows).toEqual([[1, 'loss', 2]]);
    await sink.close('done');
  });

  it('refuses a file that is no database', async () => {
    writeFileSync(join(folder, 'run.db'), 'no database at all, and long enough to look at');
    await expect(openSinks([], contextOf())).rejects.toThrow(/run\.db: expected a database of a run/);
  });
});

describe('mlflow', () => {
  const env = { MLFLOW_TRACKING_URI: 'http://127.0.0.1:5000/', MLFLOW_TRACKING_TOKEN: 'secret' };
  const root = '/api/2.0/mlflow';
  const answers = {
    [`${root}/experiments/create`]: { experiment_id: '7' },
    [`${root}/runs/create`]: { run: { info: { run_id: 'abc' } } },
    [`${root}/runs/log-batch`]: {},
    [`${root}/runs/update`]: {},
  };

  it('makes the experiment and the run, sends metrics, and ends the run', async () => {
    const { calls, fetch } = server(answers);
    const sink = mlflowSink(contextOf(env), fetch);
    sink.log({ step: 3, loss: 0.5, 'rewards/margins': 1 });
    await sink.close('interrupted');
    expect(calls.map(({ path }) => path)).toEqual([
      `${root}/experiments/get-by-name?experiment_name=heed`,
      `${root}/experiments/create`,
      `${root}/runs/create`,
      `${root}/runs/log-batch`,
      `${root}/runs/update`,
    ]);
    expect(calls[2]!.body).toMatchObject({
      experiment_id: '7',
      run_name: 'first',
      start_time: 1_700_000_000_500,
    });
    expect(calls[3]!.body).toEqual({
      run_id: 'abc',
      metrics: [
        { key: 'loss', value: 0.5, step: 3, timestamp: 1_700_000_000_500 },
        { key: 'rewards/margins', value: 1, step: 3, timestamp: 1_700_000_000_500 },
      ],
    });
    expect(calls[4]!.body).toMatchObject({ run_id: 'abc', status: 'KILLED' });
    expect(calls.every(({ headers }) => headers.authorization === 'Bearer secret')).toBe(true);
    expect(warnings).toEqual([]);
  });

  it('keeps records of a server that does not answer, and sends them when it does', async () => {
    const { calls, fetch } = server(answers, 1);
    const sink = mlflowSink(contextOf(env), fetch);
    sink.log({ step: 1, loss: 2 });
    await new Promise((resolve) => setImmediate(resolve));
    sink.log({ step: 2, loss: 1 });
    await sink.close('done');
    const sent = calls
      .filter(({ path }) => path.endsWith('log-batch'))
      .flatMap(({ body }) => body.metrics.map(({ step }: { step: number }) => step));
    expect(sent).toEqual([1, 2]);
    expect(warnings).toEqual([expect.stringContaining('mlflow: connection refused. The run goes on')]);
  });

  it('says how many records were lost when the server never answers', async () => {
    const { fetch } = server({}, Number.POSITIVE_INFINITY);
    const sink = mlflowSink(contextOf(env), fetch);
    sink.log({ step: 1, loss: 2 });
    sink.log({ step: 2, loss: 2 });
    await sink.close('done');
    expect(warnings.at(-1)).toBe('mlflow: 2 records were not sent; metrics.jsonl has all of them');
  });

  it('is refused without an address, before a file is written', async () => {
    await expect(openSinks(['tensorboard', 'mlflow'], contextOf())).rejects.toThrow(
      /--report-to mlflow: expected MLFLOW_TRACKING_URI.*no such variable/,
    );
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('trackio', () => {
  it('sends records with the configuration first, under the write token of the address', async () => {
    const { calls, fetch } = server({ '/api/bulk_log': { data: null } });
    const env = { TRACKIO_SERVER_URL: 'http://127.0.0.1:7860/?write_token=t0ken', TRACKIO_PROJECT: 'mine' };
    const sink = trackioSink(contextOf(env), fetch);
    sink.log({ step: 1, loss: 2 });
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    sink.log({ step: 2, loss: 1 });
    await sink.close('done');
    const entry = { project: 'mine', run: 'first' };
    expect(calls.map(({ body }) => body.kwargs.logs)).toEqual([
      [{ ...entry, step: 1, metrics: { loss: 2 }, config: { heed: 'model: tiny\n' } }],
      [{ ...entry, step: 2, metrics: { loss: 1 } }],
    ]);
    expect(calls[0]!.headers['x-trackio-write-token']).toBe('t0ken');
  });
});

describe('wandb', () => {
  it('logs through the SDK and finishes, which lets the process end', async () => {
    const calls: unknown[] = [];
    const sink = await wandbSink(contextOf({ WANDB_PROJECT: 'mine' }), async () => ({
      init: async (settings) => calls.push(['init', settings]),
      log: (values) => calls.push(['log', values]),
      finish: async () => {
        calls.push(['finish']);
      },
    }));
    sink.log({ step: 4, loss: 1 });
    await sink.close('done');
    expect(calls).toEqual([
      ['init', { project: 'mine', name: 'first', config: { heed: 'model: tiny\n' } }],
      ['log', { loss: 1, 'train/global_step': 4 }],
      ['finish'],
    ]);
  });

  it('says which package is missing', async () => {
    await expect(wandbSink(contextOf())).rejects.toThrow(/npm install @wandb\/sdk/);
  });
});
