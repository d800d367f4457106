import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { trainBpe } from '../../tokenizer/train-bpe.ts';
import { commands } from '../commands.ts';
import type { Host } from '../host.ts';
import { runProgram } from '../run-program.ts';

const folder = mkdtempSync(join(tmpdir(), 'heed-inspect-'));
afterAll(() => rmSync(folder, { recursive: true }));

// No merges: each byte is a token, so every count below can be read off the texts.
beforeAll(() => trainBpe([], { vocabSize: 258, specialTokens: { bos: '<s>', eos: '</s>' } }).save(folder));

const rowsFile = (name: string, rows: readonly object[]): string => {
  const path = join(folder, name);
  writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return path;
};

const inspect = (data: string, ...flags: string[]) => run(data, '--model', folder, ...flags);

async function run(data: string, ...flags: string[]) {
  let stdout = '';
  let stderr = '';
  const host: Host = {
    stdout: { columns: 40, write: (text) => (stdout += text) },
    stderr: { write: (text) => (stderr += text) },
    env: {},
    version: '0',
    clock: () => 0,
    now: () => 0,
    every: () => () => {},
    memory: () => 0,
    onSignal: () => () => {},
    exit: () => {},
  };
  const code = await runProgram(['inspect', data, '--quiet', ...flags], commands, host);
  const records = flags.includes('--json')
    ? stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line))
    : [];
  return { code, stdout, stderr, records };
}

describe('heed inspect', () => {
  it('shows the tokens and the mask of a completion', async () => {
    const data = rowsFile('completion.jsonl', [{ prompt: 'ab', completion: ' c\n' }]);
    const { code, stdout, stderr } = await inspect(data);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toBe(
      [
        `${data}, row 1  7 tokens, 4 trained`,
        'masked   │<s>│a│b│',
        'trained  │ │c│⏎│</s>│',
        '',
        '1 row of type prompt-completion, at most 512 tokens',
        '',
        'column      rows  missing  median  95 %  longest  holds (lengths in characters)',
        'prompt         1        0       2     2        2  text',
        'completion     1        0       3     3        3  text',
        '',
        '          rows  tokens  shortest  median  95 %  longest  cut  tokens cut  trained',
        'sequence     1       7         7       7     7        7  0 %           0   57.1 %',
        '',
        'sequence, tokens',
        `  0–7  ${'█'.repeat(40)}  1`,
        '',
      ].join('\n'),
    );
  });

  it('joins prompt and completion as training with the same fields would', async () => {
    const data = rowsFile('separator.jsonl', [{ prompt: 'ab', completion: 'c' }]);
    const { code, stdout } = await inspect(data, '--separator', '##', '--stop-tokens', '</s>');
    expect(code).toBe(0);
    expect(stdout).toContain('│a│b│#│#│');
    expect((await inspect(data, '--stop-tokens', 'ab')).code).toBe(2);
  });

  it('wraps at the width, leaves out the middle, and marks what is cut', async () => {
    const data = rowsFile('long.jsonl', [{ prompt: 'ab', completion: 'x'.repeat(40) }]);
    const { stdout } = await inspect(data, '--max-length', '30', '--show-tokens', '24');
    expect(stdout.split('\n').slice(1, 7)).toEqual([
      'masked   │<s>│a│b│',
      'trained  │x│x│x│x│x│x│x│x│x│',
      '         … 6 tokens …',
      'trained  │x│x│x│x│x│x│x│x│x│x│x│x│',
      // 3 + 40 + 1 tokens, of which 30 fit.
      '         ✂ 14 tokens cut',
      '',
    ]);
    const wide = await inspect(data, '--max-length', '100');
    for (const line of wide.stdout.split('\n').slice(1, 4)) expect(line.length).toBeLessThanOrEqual(40);
  });

  it('counts both sides of pairs', async () => {
    const data = rowsFile('pairs.jsonl', [
      { prompt: 'a', chosen: 'bb', rejected: 'c' },
      { prompt: 'a', chosen: 'bbbb', rejected: 'c' },
    ]);
    const { records } = await inspect(data, '--json', '--rows', '1');
    expect(records.map(({ event, sequence }) => [event, sequence])).toEqual([
      ['example', 'chosen'],
      ['example', 'rejected'],
      ['summary', undefined],
    ]);
    expect(
      records[0].tokens.map(({ text, learned }: { text: string; learned: boolean }) => [text, learned]),
    ).toEqual([
      ['<s>', false],
      ['a', false],
      ['b', true],
      ['b', true],
      ['</s>', true],
    ]);
    expect(records[2]).toMatchObject({ rows: 2, type: 'preference', refused: 0 });
    expect(records[2].sequences).toEqual({
      chosen: {
        sequences: 2,
        tokens: 12,
        shortest: 5,
        median: 5,
        p95: 7,
        longest: 7,
        histogram: [{ from: 0, to: 8, count: 2 }],
        truncated: 0,
        truncatedTokens: 0,
        split: 0,
        trained: 8,
        trainedShare: 8 / 12,
      },
      rejected: expect.objectContaining({ tokens: 8, trained: 4, trainedShare: 0.5 }),
    });
  });

  it('needs no model to show rows, columns, lengths, repeated rows and equal sides', async () => {
    const pair = { prompt: 'Why?', chosen: 'So.', rejected: 'No' };
    const data = rowsFile('plain.jsonl', [
      { ...pair, id: 1 },
      { ...pair, id: 2 },
      { ...pair, prompt: 'why' },
      { prompt: 'x', chosen: 'y', rejected: 'y' },
    ]);
    const { code, stdout } = await run(data, '--rows', '1');
    expect(code).toBe(2); // the last row states no preference
    expect(stdout.split('\n')).toEqual([
      `${data}, row 1`,
      'prompt     Why?',
      'chosen     So.',
      'rejected   No',
      'id         1',
      '',
      '4 rows of type preference',
      '',
      'column    rows  missing  median  95 %  longest  holds (lengths in characters)',
      'prompt       4        0       3     4        4  text',
      'chosen       4        0       3     3        3  text',
      'rejected     4        0       2     2        2  text',
      'id           2        2       –     –        –  number',
      '',
      '1 row repeats an earlier one',
      '1 row repeats an earlier one but for case, spacing and punctuation',
      '1 row with equal `chosen` and `rejected`',
      '',
      '1 row refused; training stops at the first, or leaves them out with --refused drop',
      '  1 × expected `chosen` and `rejected` to differ. Remove the row: it states no preference',
      `    first ${data}, row 4: received equal completions`,
      '',
    ]);
    const { records } = await run(data, '--rows', '1', '--json');
    expect(records[0]).toEqual({ event: 'row', where: `${data}, row 1`, columns: { ...pair, id: 1 } });
    expect(records[1]).toMatchObject({
      event: 'summary',
      files: [data],
      converter: null,
      types: { preference: 4 },
      duplicates: { exact: 1, normalized: 2 },
      equalSides: 1,
      refused: 1,
    });
  });

  it('converts well-known forms and shows conversations by role, steps as one sequence', async () => {
    const data = rowsFile('alpaca.jsonl', [{ instruction: 'Add', input: '1, 2', output: '3' }]);
    const { code, stdout } = await run(data);
    expect({ code, lines: stdout.split('\n').slice(1, 3) }).toEqual({
      code: 0,
      lines: ['prompt      user Add⏎⏎1, 2', 'completion  assistant 3'],
    });
    expect((await run(data, '--from', 'none')).stderr).toContain(
      'received columns instruction, input, output',
    );
    const steps = rowsFile('steps.jsonl', [{ prompt: 'q', completions: ['a', 'b'], labels: [true, false] }]);
    expect((await inspect(steps)).stdout).toContain('trained  │a│⏎│b│</s>│');
  });

  it('ends with 2 when training would refuse rows, and says why once for each reason', async () => {
    const data = rowsFile('bad.jsonl', [
      { prompt: 'a', chosen: 'b', rejected: 'c' },
      { prompt: 'a', rejected: 'c' },
      { prompt: 'a'.repeat(20), chosen: 'b', rejected: 'c' },
      { prompt: 'a'.repeat(30), chosen: 'b', rejected: 'c' },
    ]);
    const { code, stdout } = await inspect(data, '--rows', '0', '--max-length', '16');
    expect(code).toBe(2);
    expect(stdout).toContain(
      '3 rows refused; training stops at the first, or leaves them out with --refused drop',
    );
    expect(stdout).toMatch(/2 × expected a prompt of fewer than 16 tokens/);
    expect(stdout).toContain(`first ${data}, row 3: received 21 tokens`);
    expect(stdout).toMatch(/1 × expected .*`chosen`/);
    expect(
      (await inspect(data, '--rows', '0', '--max-length', '16', '--truncation', 'keep-end')).stdout,
    ).toContain('1 row refused');
  });

  it('checks the tokenizer and the length against the model, whose weights it does not need', async () => {
    const data = rowsFile('text.jsonl', [{ text: 'abc' }]);
    const model = join(folder, 'model');
    mkdirSync(model);
    const llama = {
      model_type: 'llama',
      hidden_size: 8,
      intermediate_size: 16,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      num_key_value_heads: 1,
      max_position_embeddings: 32,
      rms_norm_eps: 1e-5,
    };
    const write = (vocab_size: number): void =>
      writeFileSync(join(model, 'config.json'), JSON.stringify({ ...llama, vocab_size }));
    const flags = ['--model', model, '--tokenizer', folder];
    write(258);
    expect(await inspect(data, ...flags)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('at most 32 tokens'),
    });
    const long = await inspect(data, ...flags, '--max-length', '33');
    expect(long).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--max-length: expected at most 32'),
    });
    write(257);
    expect(await inspect(data, ...flags)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('ids below 257'),
    });
  });

  it.each([
    ['missing.jsonl', undefined, [], 'missing.jsonl, which does not exist'],
    ['empty.jsonl', [], [], 'expected at least one row, received an empty data set'],
    ['columns.jsonl', [{ question: 'a' }], [], 'received columns question'],
    ['columns.jsonl', [{ question: 'a' }], ['--learn', 'everything'], '--learn: expected completion | all'],
  ] as const)('%s %j %j ends with 2: %s', async (name, rows, flags, message) => {
    const data = rows === undefined ? join(folder, name) : rowsFile(name, rows);
    const { code, stdout, stderr } = await inspect(data, ...flags);
    expect(stderr).toContain(message);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });
});
