import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runHeed } from '../../../test/support/run-heed.ts';
import { writeTinyFolder } from '../../../test/support/tiny-folder.ts';
import type { Tokenizer } from '../../tokenizer/index.ts';

interface Line {
  readonly index: number;
  readonly sample?: number;
  readonly prompt: unknown;
  readonly completion: string;
  readonly score?: number;
  readonly ids: readonly number[];
  readonly logProbs: readonly number[];
  readonly samplingLogProbs: readonly number[];
  readonly finish: string;
  readonly stop?: number | string;
  readonly entropies?: readonly number[];
  readonly topLogProbs?: readonly { id: number; token: string; logProb: number }[][];
}

let models: string;
let folder: string;
let tokenizer: Tokenizer;
beforeAll(() => {
  models = mkdtempSync(join(tmpdir(), 'heed-generate-'));
  tokenizer = writeTinyFolder(join(models, 'text'), { reward: join(models, 'reward') });
});
afterAll(() => rmSync(models, { recursive: true }));
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'heed-generate-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const at = (name: string): string => join(folder, name);
const generate = (flags: readonly string[], onStderr?: Parameters<typeof runHeed>[1]) =>
  runHeed(
    ['generate', '--model', join(models, 'text'), '--threads', '1', '--max-new-tokens', '12', ...flags],
    onStderr,
  );
const linesOf = (path: string): Line[] =>
  readFileSync(path, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Line);
const write = (name: string, rows: readonly object[]): string => {
  writeFileSync(at(name), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return at(name);
};
const one = async (...flags: string[]): Promise<Line> =>
  JSON.parse((await generate(['The cat', '--json', ...flags])).stdout.split('\n')[0]!) as Line;

describe('heed generate', () => {
  it('writes a line per completion in the order of the rows, with what the row itself sets', async () => {
    const data = write('in.jsonl', [
      { prompt: 'a long prompt that takes many more tokens than the others do' },
      { prompt: 'b', sampling: { max_tokens: 3 } },
      { prompt: [{ role: 'user', content: 'c' }], sampling: { temperature: 0, top_k: 1 } },
      { prompt: 'd', sampling: { stop: ['</s>'], ignoreEos: true } },
    ]);
    const template = '{% for m in messages %}{{ m.content }}{% endfor %}>';
    writeFileSync(join(models, 'text', 'chat_template.jinja'), template);
    try {
      const flags = ['--data', data, '--output', at('out.jsonl'), '--n', '2', '--batch-size', '3'];
      const { code, stdout, stderr } = await generate(flags);
      expect({ code, stdout, stderr }).toEqual({
        stderr: expect.anything(),
        code: 0,
        stdout: expect.stringContaining('8 completions in'),
      });
    } finally {
      rmSync(join(models, 'text', 'chat_template.jinja'));
    }
    const lines = linesOf(at('out.jsonl'));
    expect(lines.map(({ index, sample }) => [index, sample])).toEqual(
      [0, 1, 2, 3].flatMap((index) => [
        [index, 0],
        [index, 1],
      ]),
    );
    expect(lines[2]!.ids.length).toBeLessThanOrEqual(3);
    expect(lines[0]!.ids.length).toBeGreaterThan(3);
    expect(lines[4]!.ids).toEqual(lines[5]!.ids); // greedy
    expect(lines[4]!.prompt).toEqual([{ role: 'user', content: 'c' }]);
    expect(lines[0]!.ids).not.toEqual(lines[1]!.ids);
    expect(existsSync(at('out.jsonl.partial'))).toBe(false);
    for (const { ids, logProbs, samplingLogProbs } of lines)
      expect([logProbs.length, samplingLogProbs.length]).toEqual([ids.length, ids.length]);
    // A row's completion depends on its place only.
    const alone = await generate([
      '--data',
      data,
      '--output',
      at('one.jsonl'),
      '--n',
      '2',
      '--max-rows',
      '2',
    ]);
    expect(alone.code).toBe(0);
    expect(linesOf(at('one.jsonl')).map(({ ids }) => ids)).toEqual(lines.slice(0, 4).map(({ ids }) => ids));
  });

  it('goes on where it was interrupted, and the file is the same in the end', async () => {
    const rows = Array.from({ length: 9 }, (_, i) => ({ prompt: 'x '.repeat(1 + ((5 * i) % 7)) }));
    const data = write('in.jsonl', rows);
    const flags = ['--data', data, '--n', '2', '--batch-size', '2'];
    await generate([...flags, '--output', at('whole.jsonl')]);
    const wanted = readFileSync(at('whole.jsonl'), 'utf8');
    const run = [...flags, '--output', at('out.jsonl'), '--overwrite'];
    await generate(run);
    const complete = readFileSync(at('out.jsonl'), 'utf8');
    expect(complete).toBe(wanted);

    // What a run leaves that died in the middle of a line: rows in the order in which they ended.
    const stopped = await generate(run, (text, interrupt) => {
      if (text.includes('"start"')) interrupt();
    });
    expect(stopped.code).toBe(130);
    expect(stopped.stderr).toMatch(/\d of 9 prompts are done; .*out\.jsonl\.partial has them, and --resume/);
    const partial = at('out.jsonl.partial');
    const refused = await generate(run);
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('--resume')]);
    const head = readFileSync(partial, 'utf8').split('\n')[0]!;
    const groups = [4, 0, 7].map((index) =>
      complete
        .split('\n')
        .slice(2 * index, 2 * index + 2)
        .join('\n'),
    );
    const written = [head, ...groups, ''].join('\n');
    // Whole rows; one line of two; half a line; half a character; nothing but half a head.
    const third = complete.split('\n')[2]!;
    for (const rest of [
      '',
      `${third}\n`,
      `${third}\n${complete.split('\n')[3]!.slice(0, 50)}`,
      '{"index":1,"prompt":"',
    ]) {
      writeFileSync(partial, written + rest);
      if (rest !== '') truncateSync(partial, Buffer.byteLength(written + rest) - 1);
      const resumed = await generate([...run, '--resume']);
      expect([resumed.code, resumed.stderr]).toEqual([0, expect.stringContaining('"done":3')]);
      expect(readFileSync(at('out.jsonl'), 'utf8')).toBe(wanted);
      expect(existsSync(partial)).toBe(false);
    }
    writeFileSync(partial, head.slice(0, 40));
    expect((await generate([...run, '--resume'])).code).toBe(0);
    expect(readFileSync(at('out.jsonl'), 'utf8')).toBe(wanted);
  });

  it('replaces a finished file only when told to', async () => {
    const run = ['--data', write('in.jsonl', [{ prompt: 'a' }]), '--output', at('out.jsonl')];
    expect((await generate(run)).code).toBe(0);
    const first = readFileSync(at('out.jsonl'), 'utf8');
    const again = await generate([...run, '--seed', '1']);
    expect([again.code, again.stderr]).toEqual([2, expect.stringMatching(/out\.jsonl.*--overwrite/s)]);
    expect(readFileSync(at('out.jsonl'), 'utf8')).toBe(first);
    expect(existsSync(at('out.jsonl.partial'))).toBe(false);
    expect((await generate([...run, '--seed', '1', '--overwrite'])).code).toBe(0);
    expect(readFileSync(at('out.jsonl'), 'utf8')).not.toBe(first);
  });

  it('does not continue a file of other settings, other rows or other lines', async () => {
    const data = write('in.jsonl', [{ prompt: 'a' }, { prompt: 'b' }]);
    const run = ['--data', data, '--output', at('out.jsonl')];
    await generate(run, (text, interrupt) => text.includes('"start"') && interrupt());
    const partial = at('out.jsonl.partial');
    const begun = readFileSync(partial, 'utf8').split('\n')[0]!;
    writeFileSync(partial, `${begun}\n`);
    const refuses = async (flags: readonly string[], message: RegExp): Promise<void> => {
      const { code, stderr } = await generate([...run, '--resume', ...flags]);
      expect([code, stderr]).toEqual([2, expect.stringMatching(message)]);
      expect(existsSync(partial)).toBe(true);
    };
    await refuses(['--temperature', '0.5'], /the temperature of the run that wrote it, 1, received 0\.5/);
    await refuses(['--seed', '3'], /the seed of the run that wrote it, 0/);
    write('in.jsonl', [{ prompt: 'a' }, { prompt: 'c' }]);
    await refuses([], /the prompts of the run that wrote it/);
    write('in.jsonl', [{ prompt: 'a' }, { prompt: 'b' }]);
    writeFileSync(partial, `${begun}\n{"index":7}\n`);
    await refuses([], /partial, line 2: expected a line that heed generate wrote, received \{"index":7\}/);
  });

  it('saves at Ctrl-C what has ended, in the middle of the work', async () => {
    const rows = Array.from({ length: 40 }, (_, i) => ({
      prompt: `row ${i}`,
      sampling: { maxNewTokens: 40 },
    }));
    const run = ['--data', write('in.jsonl', rows), '--output', at('out.jsonl'), '--batch-size', '1'];
    let sent = false;
    const { code, stderr } = await generate(run, (_, interrupt) => {
      if (sent) return;
      sent = true;
      setTimeout(interrupt, 250);
    });
    expect(code).toBe(130);
    const done = Number(/"text":"(\d+) of 40 prompts/.exec(stderr)![1]);
    expect(linesOf(at('out.jsonl.partial'))).toHaveLength(1 + done);
    expect((await generate([...run, '--resume'])).code).toBe(0);
    expect(linesOf(at('out.jsonl')).map(({ index }) => index)).toEqual(rows.map((_, i) => i));
  }, 20_000);

  it('keeps the best of several, by their mean log-probability or by a reward model', async () => {
    const read = async (...flags: string[]): Promise<Line[]> =>
      (await generate(['The cat', '--json', ...flags])).stdout
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as Line);
    const reward = ['--reward', join(models, 'reward')];
    const all = await read('--n', '5', ...reward);
    const mean = ({ logProbs }: Line): number => logProbs.reduce((a, b) => a + b, 0) / logProbs.length;
    const best = await read('--n', '2', '--best-of', '5');
    const byMean = [...all].sort((a, b) => mean(b) - mean(a)).slice(0, 2);
    expect(best.map(({ sample }) => sample)).toEqual(byMean.map(({ sample }) => sample));
    const rewarded = await read('--n', '2', '--best-of', '5', ...reward);
    const byScore = [...all].sort((a, b) => b.score! - a.score!).slice(0, 2);
    expect(rewarded.map(({ sample, score }) => [sample, score])).toEqual(
      byScore.map(({ sample, score }) => [sample, score]),
    );
    expect(byScore.map(({ sample }) => sample)).not.toEqual(byMean.map(({ sample }) => sample));
    const { code, stderr } = await generate(['The cat', '--n', '3', '--best-of', '2']);
    expect([code, stderr]).toEqual([
      2,
      expect.stringContaining('--best-of: expected at least n, 3, received 2'),
    ]);
  });

  it('ends at stop texts, stop tokens and special tokens by name, and not before minNewTokens', async () => {
    const whole = await one('--ignore-eos');
    const text = tokenizer.decode(whole.ids);
    // A text of the end of one token and the beginning of the next.
    const border = tokenizer.decode(whole.ids.slice(0, 5)).length;
    const stop = text.slice(border - 1, border + 1);
    const stopped = await one('--ignore-eos', '--stop', JSON.stringify([stop]));
    const end = text.indexOf(stop);
    expect(stopped).toMatchObject({ completion: text.slice(0, end), finish: 'stop', stop });
    expect(stopped.ids).toEqual(whole.ids.slice(0, stopped.ids.length));
    expect(tokenizer.decode(stopped.ids).length).toBeGreaterThanOrEqual(end + stop.length);
    expect(tokenizer.decode(stopped.ids.slice(0, -1)).length).toBeLessThan(end + stop.length);
    const byId = await one('--ignore-eos', '--stop-ids', String(whole.ids[3]));
    expect(byId).toMatchObject({ finish: 'stop', stop: whole.ids[3] });
    const bias = ['--logit-bias', JSON.stringify({ [tokenizer.eosId!]: 100 })];
    expect(await one(...bias)).toMatchObject({
      ids: [tokenizer.eosId],
      completion: '',
      stop: tokenizer.eosId,
    });
    expect((await one(...bias, '--ignore-eos')).ids).toHaveLength(12);
    const named = await one(...bias, '--ignore-eos', '--stop', '</s>', '--min-new-tokens', '3');
    expect(named.ids).toHaveLength(4);
    expect(named.ids[3]).toBe(tokenizer.eosId);
  });

  it('tells the likeliest tokens and the entropy in each place', async () => {
    const line = await one('--logprobs', '300');
    expect(line.topLogProbs).toHaveLength(line.ids.length);
    line.topLogProbs!.forEach((top, t) => {
      expect(top.find(({ id }) => id === line.ids[t])!.logProb).toBe(line.logProbs[t]);
      const entropy = -top.reduce((sum, { logProb }) => sum + Math.exp(logProb) * logProb, 0);
      expect(line.entropies![t]).toBeCloseTo(entropy, 5);
      expect(top[0]!.token).toBe(tokenizer.tokenText(top[0]!.id));
    });
    expect((await one()).topLogProbs).toBeUndefined();
  });

  it('searches with beams and keeps the best', async () => {
    const greedy = await one('--temperature', '0');
    const { stdout } = await generate([
      'The cat',
      '--json',
      '--beams',
      '4',
      '--n',
      '3',
      '--length-penalty',
      '0',
    ]);
    const lines = stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Line & { beamScore: number });
    const sums = lines.map(({ logProbs }) => logProbs.reduce((a, b) => a + b, 0));
    expect(lines.map(({ beamScore }) => beamScore)).toEqual(
      [...sums].sort((a, b) => b - a).map((sum) => expect.closeTo(sum, 4)),
    );
    expect(sums[0]).toBeGreaterThanOrEqual(greedy.logProbs.reduce((a, b) => a + b, 0));
    const { code, stderr } = await generate(['a', '--beams', '2', '--best-of', '2']);
    expect([code, stderr]).toEqual([2, expect.stringContaining('beam search or best-of, not both')]);
  });

  it('keeps to choices, regular expressions and JSON schemas, for all rows or for one', async () => {
    const schema = {
      type: 'object',
      properties: { ok: { type: 'boolean' }, n: { type: 'integer' } },
      required: ['ok', 'n'],
    };
    writeFileSync(at('schema.json'), JSON.stringify(schema));
    const data = write('in.jsonl', [
      { prompt: 'a' },
      { prompt: 'b', sampling: { choice: ['The cat', 'The dog sat'] } },
      { prompt: 'c', sampling: { json_schema: { type: 'integer', minimum: 10, maximum: 99 } } },
      { prompt: 'd', sampling: { regex: '(?:yes|no){2}' } },
      { prompt: 'e', sampling: { json_object: true, max_tokens: 9 } },
    ]);
    const flags = ['--data', data, '--json-schema', at('schema.json'), '--max-new-tokens', '60', '--n', '3'];
    expect((await generate([...flags, '--output', at('out.jsonl')])).code).toBe(0);
    const texts = linesOf(at('out.jsonl')).map(({ completion }) => completion);
    for (const text of texts.slice(0, 3))
      expect(JSON.parse(text)).toEqual({ ok: expect.any(Boolean), n: expect.any(Number) });
    for (const text of texts.slice(3, 6)) expect(text).toMatch(/^The (cat|dog sat)$/);
    for (const text of texts.slice(6, 9)) expect(text).toMatch(/^[1-9][0-9]$/);
    for (const text of texts.slice(9, 12)) expect(text).toMatch(/^(yes|no){2}$/);
    for (const text of texts.slice(12)) expect(text).toMatch(/^\{["}\s]/);
    const some = write('some.jsonl', [{ prompt: 'a', sampling: { choice: ['The cat'] } }, { prompt: 'b' }]);
    expect((await generate(['--data', some, '--output', at('some-out.jsonl')])).code).toBe(0);
    const [first, second] = linesOf(at('some-out.jsonl'));
    expect([first!.completion, second!.completion === 'The cat']).toEqual(['The cat', false]);
    const both = await generate(['a', '--regex', 'a', '--choice', 'b']);
    expect([both.code, both.stderr]).toEqual([
      2,
      expect.stringContaining('expected one of choice, regex, jsonSchema and jsonObject'),
    ]);
    const bad = await generate(['a', '--json-schema', at('none.json')]);
    expect([bad.code, bad.stderr]).toEqual([
      2,
      expect.stringMatching(/none\.json: expected a JSON schema, or a file/),
    ]);
  });

  it('guesses without changing greedy completions, by look-up and with a draft model', async () => {
    const plain = await one('--temperature', '0');
    for (const flags of [[], ['--draft', join(models, 'text')]]) {
      const { stdout, stderr } = await generate([
        'The cat',
        '--json',
        '--temperature',
        '0',
        '--speculate',
        '3',
        ...flags,
      ]);
      expect((JSON.parse(stdout) as Line).ids).toEqual(plain.ids);
      if (flags.length > 0) expect(stderr).toMatch(/"guessed":\d+/);
    }
    const { code, stderr } = await generate(['a', '--draft', join(models, 'text')]);
    expect([code, stderr]).toEqual([2, expect.stringContaining('--draft: expected --speculate')]);
  });

  it('refuses what does not fit, naming the row', async () => {
    const refuses = async (flags: readonly string[], message: RegExp): Promise<void> => {
      const { code, stderr } = await generate(flags);
      expect([code, stderr]).toEqual([2, expect.stringMatching(message)]);
    };
    await refuses([], /expected either a prompt or --data, received neither/);
    await refuses(['a', '--resume'], /--resume: expected --output/);
    const rows = (sampling: unknown): string =>
      write('in.jsonl', [{ prompt: 'a' }, { prompt: 'b', sampling }]);
    await refuses(
      ['--data', rows({ temprature: 1 })],
      /row 2, `sampling`: .*received temprature.*Did you mean temperature\?/,
    );
    await refuses(['--data', rows({ topP: 2 })], /row 2, `sampling.topP`: expected number.*received 2/);
    await refuses(['--data', rows('hot')], /row 2, `sampling`: expected an object/);
    await refuses(['--data', rows({ logitBias: { 300: 1 } })], /token ids below 300, received 300/);
  });
});
