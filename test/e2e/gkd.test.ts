/** heed gkd from the command line on tiny models: a teacher of another architecture, quantized; the dry run; what does not fit. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runHeed } from '../support/run-heed.ts';
import { writeTinyFolder } from '../support/tiny-folder.ts';

const folder = mkdtempSync(join(tmpdir(), 'heed-gkd-'));
const at = (name: string): string => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

beforeAll(() => {
  writeTinyFolder(at('student'), { seed: 7 });
  writeTinyFolder(at('teacher'), {
    seed: 8,
    overrides: {
      model_type: 'qwen2',
      architectures: ['Qwen2ForCausalLM'],
      hidden_size: 32,
      intermediate_size: 64,
    },
  });
  writeTinyFolder(at('other'), { overrides: { vocab_size: 304 } });
  writeTinyFolder(at('short'), { overrides: { max_position_embeddings: 40 } });
  writeFileSync(
    at('rows.jsonl'),
    Array.from(
      { length: 12 },
      (_, i) => `${JSON.stringify({ prompt: `say ${i}:`, completion: ' yes.' })}\n`,
    ).join(''),
  );
});

const gkd = (teacher: string, output: string, ...more: string[]): string[] => [
  ...['gkd', '--model', at('student'), '--teacher-model', at(teacher), '--data', at('rows.jsonl')],
  ...['--output', at(output), '--max-length', '48', '--max-new-tokens', '6', '--batch-size', '4'],
  ...[
    '--log-every',
    '1',
    '--threads',
    '1',
    '--learning-rate',
    '0.003',
    '--evaluation-share',
    '0.25',
    ...more,
  ],
];

const records = (output: string): Record<string, number>[] =>
  readFileSync(join(at(output), 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, number>);

describe('heed gkd', () => {
  it('brings a student nearer to a teacher of another architecture, with its weights in 4 bits too', async () => {
    for (const bits of ['none', '4bit']) {
      const run = await runHeed(
        gkd('teacher', bits, '--lmbda', '1', '--epochs', '6', '--quantize-teacher', bits),
      );
      expect(run.stderr).not.toContain('"error"');
      expect(run.code).toBe(0);
      const own = records(bits);
      expect(own.at(-1)!['eval_teacher/forward_kl']).toBeLessThan(0.9 * own[0]!['eval_teacher/forward_kl']!);
      const steps = own.filter((record) => record['sampling/student_share'] !== undefined);
      expect(steps.length).toBeGreaterThan(10);
      for (const record of steps) expect(record['completions/mean_length']).toBeLessThanOrEqual(6);
    }
    // The packed weights are others, and so is what is learned.
    expect(records('4bit')[0]!['eval_loss']).not.toBe(records('none')[0]!['eval_loss']);
  });

  it('learns from prompts alone where somebody samples, and says so where nobody does', async () => {
    writeFileSync(
      at('prompts.jsonl'),
      Array.from({ length: 8 }, (_, i) => `{"prompt":"say ${i}:"}\n`).join(''),
    );
    const prompts = (output: string, ...more: string[]): string[] => {
      const argv = gkd('teacher', output, ...more);
      return argv.with(argv.indexOf('--data') + 1, at('prompts.jsonl'));
    };
    const held = ['--evaluation-data', at('rows.jsonl'), '--evaluation-share', '0'];
    expect((await runHeed(prompts('alone', '--lambda', '0', '--seq-kd', ...held))).code).toBe(0);
    const step = records('alone').find((record) => record['sampling/teacher_share'] !== undefined)!;
    expect(step['sampling/teacher_share']).toBe(1);
    expect(step['completions/mean_length']).toBeGreaterThan(0);
    const mixed = await runHeed(prompts('bad', '--lambda', '0.5', ...held));
    expect(mixed.stderr).toMatch(
      /row 1: expected a completion: with lambda below 1.*--lambda 1, or --seq-kd/,
    );
    expect(mixed.code).toBe(2);
    // A quarter of the prompts is held out: there is nothing to predict.
    const blind = await runHeed(prompts('blind', '--lambda', '1'));
    expect(blind.stderr).toMatch(
      /evaluation: expected held-out rows with something to predict, received 2 without/,
    );
  });

  it('trains an adapter alone where asked to', async () => {
    const run = await runHeed(gkd('teacher', 'lora', '--lora', '--max-steps', '2'));
    expect(run.code).toBe(0);
    expect(readFileSync(join(at('lora'), 'model', 'adapter_config.json'), 'utf8')).toContain('"r"');
  });

  it('counts the teacher and the cache of what is sampled in the dry run', async () => {
    const memoryOf = async (...more: string[]) => {
      const run = await runHeed(gkd('teacher', 'dry', '--dry-run', '--json', ...more));
      return (JSON.parse(run.stdout) as { memory: Record<string, number> }).memory;
    };
    const bytes = (name: string): number => readFileSync(join(at(name), 'model.safetensors')).length;
    const whole = await memoryOf('--lmbda', '0.5', '--seq-kd');
    // The files hold the same float32 numbers, and a header of a few kB.
    expect(whole.weights).toBeGreaterThan(bytes('student') + bytes('teacher') - 8192);
    expect(whole.weights).toBeLessThanOrEqual(bytes('student') + bytes('teacher'));
    // Both sample: 2 × 2 layers × keys and values × 4 rows × 2 heads × 8 numbers × 16 columns × 4 bytes.
    expect(whole.sampling).toBe(2 * 2 * 2 * 4 * 2 * 8 * 16 * 4);
    const packed = await memoryOf('--lmbda', '0', '--quantize-teacher', '4bit');
    expect(packed.weights).toBeLessThan(whole.weights!);
    expect(packed.sampling).toBeUndefined();
  });

  it.each<[string, () => string[], RegExp]>([
    ['no teacher', () => gkd('teacher', 'bad').filter((_, i) => i !== 3 && i !== 4), /teacher-model/i],
    ['another vocabulary', () => gkd('other', 'bad'), /student's vocabulary of 300 tokens.*with 304/],
    ['a shorter context', () => gkd('short', 'bad'), /context of at least maxLength \(48\).*with 40/],
    [
      'no room for completions',
      () => gkd('teacher', 'bad', '--max-new-tokens', '125'),
      /--max-new-tokens: expected at most 12\d: the context of 128/,
    ],
  ])('refuses %s', async (_name, argv, message) => {
    const run = await runHeed(argv());
    expect(run.stderr).toMatch(message);
    expect(run.code).toBe(2);
  });

  it('refuses a teacher whose tokens mean something else', async () => {
    writeTinyFolder(at('swapped'));
    const file = join(at('swapped'), 'tokenizer.json');
    const tokenizer = JSON.parse(readFileSync(file, 'utf8')) as { model: { vocab: Record<string, number> } };
    const { vocab } = tokenizer.model;
    [vocab.a, vocab.b] = [vocab.b!, vocab.a!];
    writeFileSync(file, JSON.stringify(tokenizer));
    const run = await runHeed(gkd('swapped', 'bad'));
    expect(run.stderr).toMatch(/student's tokens, where \d+ is "[ab]".*where it is "[ab]"/);
    expect(run.code).toBe(2);
  });
});
