/** A reward model on an encoder: trained by the command, saved as a classifier or as an adapter, and read again as both. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { sharedOrt } from '../../../test/support/engines-agree.ts';
import { goldenFolder, readGolden } from '../../../test/support/golden-model.ts';
import { letters, lettersTokenizer } from '../../../test/support/letters-tokenizer.ts';
import { runHeed } from '../../../test/support/run-heed.ts';
import { createRng } from '../../core/rng.ts';
import { loadClassifier, readClassifier, saveModel } from '../../models/index.ts';
import { createClassifier } from '../../parts/scorer/classifier.ts';
import { loadTokenizer } from '../../tokenizer/index.ts';

const place = mkdtempSync(join(tmpdir(), 'heed-encoder-rm-'));
afterAll(() => rmSync(place, { recursive: true }));
const at = (...parts: string[]): string => join(place, ...parts);

/** The better answer holds an `a`, the worse one a `b` in its place. */
function pairs(count: number, seed: number): { prompt: string; chosen: string; rejected: string }[] {
  const rng = createRng(seed);
  return Array.from({ length: count }, (_, row) => {
    const words = Array.from({ length: 5 }, (_, t) => letters[2 + rng.integer(14, row, t)]!);
    const place = rng.integer(5, row, 9);
    const answer = (mark: string): string => words.map((word, t) => (t === place ? mark : word)).join(' ');
    return { prompt: `${letters[2 + (row % 14)]} c `, chosen: answer('a'), rejected: answer('b') };
  });
}
const write = (name: string, rows: readonly object[]): string => {
  writeFileSync(at(name), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return at(name);
};
const training = write('train.jsonl', pairs(64, 1));
const heldOut = pairs(32, 2);
const evaluation = write('test.jsonl', heldOut);

/** A checkpoint with a head for three labels, and a tokenizer: what one finds on the hub. */
function base(name: string): string {
  const { config, parameters } = readClassifier(goldenFolder(name));
  saveModel(at(name), { config, parameters, files: Object.fromEntries(lettersTokenizer.files) });
  return at(name);
}

const train = (model: string, output: string, ...more: string[]) =>
  runHeed([
    ...['bt-rm', '--model', model, '--data', training, '--evaluation-data', evaluation],
    ...[
      '--output',
      at(output),
      '--batch-size',
      '16',
      '--learning-rate',
      '5e-3',
      '--max-length',
      '32',
      '--threads',
      '1',
      ...more,
    ],
  ]);

function metrics(output: string): Record<string, number>[] {
  return readFileSync(at(output, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, number>);
}

/** Share of the held-out pairs that the saved model, read as a classifier of texts, puts in order. */
async function accuracyOf(folder: string): Promise<number> {
  const classifier = await loadClassifier(folder);
  const tokenizer = await loadTokenizer(folder);
  const { classify, dispose } = createClassifier({ engine: sharedOrt(), classifier, tokenizer });
  const sides = heldOut.flatMap(({ prompt, chosen, rejected }) => [prompt + chosen, prompt + rejected]);
  const scores = (await classify(sides)).map(({ logits }) => logits[0]!);
  dispose();
  return heldOut.filter((_, row) => scores[2 * row]! > scores[2 * row + 1]!).length / heldOut.length;
}

describe.each(['bert-pairs', 'modernbert-cls'])('bt-rm on %s', (name) => {
  const model = base(name);

  it('learns, and is a classifier with one number afterwards', async () => {
    const run = await train(model, `${name}-full`, '--epochs', '10');
    expect(run.code, run.stderr).toBe(0);
    const records = metrics(`${name}-full`);
    const first = records[0]!.eval_accuracy!;
    const last = records.findLast((record) => record.eval_accuracy !== undefined)!.eval_accuracy!;
    expect(first).toBeLessThan(0.8);
    expect(last).toBeGreaterThan(0.9);
    expect(await accuracyOf(at(`${name}-full`, 'model'))).toBe(last);
    const config = JSON.parse(readFileSync(at(`${name}-full`, 'model', 'config.json'), 'utf8')) as object;
    const [architecture] = (readGolden(name, 'config.json') as { architectures: string[] }).architectures;
    expect(config).toMatchObject({
      ...{ architectures: [architecture], num_labels: 1, problem_type: 'regression' },
      id2label: { 0: 'LABEL_0' },
    });
    const card = JSON.parse(readFileSync(at(`${name}-full`, 'model', 'reward_card.json'), 'utf8')) as object;
    expect(card).toMatchObject({ eosRule: 'as-is', evaluation: { accuracy: last } });
  });

  it('trains an adapter, with the head whole, and goes on from it', async () => {
    const run = await train(model, `${name}-lora`, '--lora', '--lora-r', '4', '--epochs', '2');
    expect(run.code, run.stderr).toBe(0);
    const last = metrics(`${name}-lora`).findLast((record) => record.eval_accuracy !== undefined)!;
    const adapter = at(`${name}-lora`, 'model');
    expect(await accuracyOf(adapter)).toBe(last.eval_accuracy);
    const stored = JSON.parse(readFileSync(join(adapter, 'adapter_config.json'), 'utf8')) as {
      modules_to_save: string[];
      task_type: string;
    };
    expect(stored.task_type).toBe('SEQ_CLS');
    expect(stored.modules_to_save).toContain('classifier');
    const on = await train(adapter, `${name}-on`, '--max-steps', '1');
    expect(on.code, on.stderr).toBe(0);
    expect(metrics(`${name}-on`)[0]!.eval_accuracy).toBe(last.eval_accuracy);
  });
});

describe('an encoder', () => {
  it('is refused by methods that need a language model', async () => {
    for (const method of ['sft', 'dpo']) {
      const run = await runHeed([method, '--model', base('bert-relu'), '--data', training]);
      expect(run.code).toBe(2);
      expect(run.stderr).toMatch(
        /model_type: expected llama, .*, received "bert"\. It is an encoder, which writes no text: name a language model/s,
      );
    }
  });

  it('reads whole texts, which are cut on the side that is named or refused', async () => {
    const long = { prompt: 'c d e f g h i j ', chosen: 'a', rejected: 'b' };
    const rows = write('long.jsonl', [long, { ...long, chosen: 'p' }]);
    const run = (...more: string[]) =>
      runHeed([
        ...['bt-rm', '--model', base('bert-relu'), '--data', rows, '--output', at('long'), '--overwrite'],
        ...['--max-length', '8', '--max-steps', '1', '--threads', '1', ...more],
      ]);
    const refused = await run();
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/row 1.*: expected at most 8 tokens, received 11/s);
    const start = await run('--truncation', 'keep-start');
    expect(start.stderr).toMatch(/equal tokens after cutting to 8/);
    const end = await run('--truncation', 'keep-end');
    expect(end.code, end.stderr).toBe(0);
    expect(end.stderr).toContain('4 of 4 sequences were cut to 8 tokens');
  });
});
