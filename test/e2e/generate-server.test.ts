/** `heed generate --server`, and rewards of a server, against our own server over a socket. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createOrtEngine } from '../../src/engine/ort/ort-engine.ts';
import { type Listening, listen } from '../../src/serve/index.ts';
import { runHeed } from '../support/run-heed.ts';
import { writeTinyFolder } from '../support/tiny-folder.ts';
import { never, type TinyServer, tinyServer } from '../support/tiny-server.ts';

interface Line {
  readonly index: number;
  readonly completion: string;
  readonly ids: readonly number[];
  readonly logProbs: readonly number[];
  readonly samplingLogProbs: readonly number[];
  readonly entropies?: readonly number[];
  readonly score?: number;
}

const engine = createOrtEngine({ threads: 1 });
const folder = mkdtempSync(join(tmpdir(), 'heed-server-'));
const at = (name: string): string => join(folder, name);
let server: TinyServer;
let listening: Listening;
let url: string;
beforeAll(async () => {
  // The model and the reward model of the server, as folders.
  writeTinyFolder(at('text'), { reward: at('reward') });
  server = tinyServer(engine, { queue: 64 });
  listening = await listen(server.app, { host: '127.0.0.1', port: 0 });
  url = `${listening.url}/v1`;
  const rows = ['The gardener', 'Nobody counts', 'x'].map((prompt) => ({ prompt }));
  writeFileSync(at('in.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
});
afterAll(async () => {
  await listening.close(never());
  engine.dispose();
  rmSync(folder, { recursive: true });
});

const linesOf = (path: string): Line[] =>
  readFileSync(path, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Line);
const common = (output: string): string[] => [
  ...['--data', at('in.jsonl'), '--output', at(output), '--max-new-tokens', '8', '--threads', '1'],
];
const local = ['generate', '--model', at('text')];
const remote = (model = 'tiny'): string[] => [
  ...['generate', '--server', url, '--model', model, '--tokenizer', at('text')],
];
const run = async (source: string[], output: string, ...flags: string[]): Promise<Line[]> => {
  const { code, stderr } = await runHeed([...source, ...common(output), ...flags]);
  expect([code, stderr]).toEqual([0, expect.anything()]);
  return linesOf(at(output));
};

describe('heed generate --server', () => {
  it('gives what the same model gives in this process: tokens, log-probabilities, entropies', async () => {
    const flags = ['--temperature', '0', '--logprobs', '0'];
    const here = await run(local, 'here.jsonl', ...flags);
    const there = await run(remote(), 'there.jsonl', ...flags);
    expect(there.map(({ ids }) => ids)).toEqual(here.map(({ ids }) => ids));
    expect(there.map(({ completion }) => completion)).toEqual(here.map(({ completion }) => completion));
    for (const [i, line] of there.entries())
      for (const name of ['logProbs', 'samplingLogProbs', 'entropies'] as const)
        line[name]!.forEach((value, t) => {
          expect(value).toBeCloseTo(here[i]![name]![t]!, 4);
        });
  });

  it('samples by seed, keeps to constraints and to what rows set, and ranks by rewards here and there', async () => {
    const sampled = await run(remote(), 'a.jsonl', '--seed', '4');
    expect(await run(remote(), 'b.jsonl', '--seed', '4')).toEqual(sampled);
    expect(await run(remote(), 'c.jsonl', '--seed', '5')).not.toEqual(sampled);
    for (const { completion } of await run(remote(), 'd.jsonl', '--regex', '[a-c]{3}'))
      expect(completion).toMatch(/^[a-c]{3}$/);
    const best = ['--best-of', '3', '--seed', '4'];
    const ranked = await run(remote(), 'e.jsonl', ...best, '--reward', `${url}#tiny-reward`);
    const here = await run(remote(), 'f.jsonl', ...best, '--reward', at('reward'));
    expect(ranked.map(({ ids }) => ids)).toEqual(here.map(({ ids }) => ids));
    ranked.forEach(({ score }, i) => {
      expect(score).toBeCloseTo(here[i]!.score!, 4);
    });
  });

  it('stops at Ctrl-C without waiting for the server, and goes on with --resume', async () => {
    const rows = Array.from({ length: 12 }, (_, i) => ({ prompt: `Nobody ${i}` }));
    writeFileSync(at('many.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    const flags = [...remote(), ...common('g.jsonl'), '--data', at('many.jsonl'), '--concurrency', '1'];
    const stopped = await runHeed(flags, (text, interrupt) => {
      if (text.includes('"start"')) interrupt();
    });
    expect(stopped.code).toBe(130);
    expect(existsSync(at('g.jsonl'))).toBe(false);
    expect((await runHeed([...flags, '--resume'])).code).toBe(0);
    expect(linesOf(at('g.jsonl'))).toHaveLength(12);
  });

  it('says what is wrong, in the words of the server where those are known', async () => {
    const refuses = async (source: string[], message: RegExp, ...flags: string[]): Promise<void> => {
      const { code, stderr } = await runHeed([...source, ...common('h.jsonl'), '--overwrite', ...flags]);
      expect([code, stderr]).toEqual([expect.any(Number), expect.stringMatching(message)]);
      expect(code).toBeGreaterThan(0);
      // Nothing came, so nothing is left to be resumed.
      expect(existsSync(at('h.jsonl.partial'))).toBe(false);
    };
    await refuses(
      remote('gpt'),
      /received 404: The model \\?"gpt\\?" does not exist.*tiny.*\. Check the name of the model, and that the address/,
    );
    await refuses(['generate', '--server', url, '--model', 'tiny'], /--server: expected --tokenizer/);
    await refuses(remote(), /--beams: expected a model in this process/, '--beams', '2');
    await refuses(remote(), /--logprobs above 0: expected a model/, '--logprobs', '2');
    await refuses(remote(), /expected an address with the name of the model behind #/, '--reward', url);
    const nobody = [
      'generate',
      '--server',
      'http://127.0.0.1:9/v1',
      '--model',
      'm',
      '--tokenizer',
      at('text'),
    ];
    await refuses(nobody, /after 1 attempts/, '--retries', '0');
  });

  it('takes text from a server that knows no token ids, and does not rank without log-probabilities', async () => {
    const text = createServer((request, response) => {
      let body = '';
      request.on('data', (part) => {
        body += part;
      });
      request.on('end', () => {
        const { n } = JSON.parse(body) as { n: number };
        const choices = Array.from({ length: n }, (_, index) => ({
          index,
          text: ' yes',
          finish_reason: 'stop',
        }));
        response.end(JSON.stringify({ choices }));
      });
    });
    await new Promise<void>((resolve) => void text.listen(0, '127.0.0.1', resolve));
    const address = `http://127.0.0.1:${(text.address() as AddressInfo).port}/v1`;
    const source = ['generate', '--server', address, '--model', 'm', '--tokenizer', at('text')];
    try {
      const lines = await run(source, 'text.jsonl');
      expect(lines.map(({ completion }) => completion)).toEqual([' yes', ' yes', ' yes']);
      expect(new Set(lines.flatMap(({ logProbs }) => logProbs))).toEqual(new Set([null]));
      const { code, stderr } = await runHeed([...source, ...common('best.jsonl'), '--best-of', '2']);
      expect([code, stderr]).toEqual([
        2,
        expect.stringMatching(/--best-of: expected log-probabilities to rank/),
      ]);
    } finally {
      text.close();
    }
  });
});
