/** Token-in, token-out: what a model produced is kept as ids, from the sampler to the loss. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { bpeCorpus } from '../../../test/support/bpe-corpus.ts';
import { sharedOrt } from '../../../test/support/engines-agree.ts';
import { tinyModel } from '../../../test/support/tiny-model.ts';
import { createRng } from '../../core/rng.ts';
import { createGenerator } from '../../generate/index.ts';
import { trainBpe } from '../../tokenizer/index.ts';
import { sequenceLogProbs } from '../reference.ts';
import { rollout, scoreItem } from './rollout.ts';

it('keeps sampled ids that their own text would not give', async () => {
  const tokenizer = trainBpe(bpeCorpus, { vocabSize: 300, specialTokens: { eos: '</s>' } });
  const { model, parameters } = tinyModel(1, { vocab_size: tokenizer.vocabSize });
  const engine = sharedOrt();
  const generator = createGenerator({ engine, model, parameters });
  const prompt = { ids: tokenizer.encode('The gardener'), text: 'The gardener' };
  const traces = await rollout([prompt], createRng(4), {
    ...{ generator, completionsPerPrompt: 8, maxNewTokens: 16, temperature: 1, topP: 1, batchSize: 8 },
    stopIds: new Set([tokenizer.eosId!]),
    decode: (ids) => tokenizer.decode(ids),
  });
  generator.dispose();
  // A model that knows nothing samples bytes that merge, and bytes that are no text: its ids are not those of its text.
  const changed = traces.filter(({ ids, text }) => `${tokenizer.encode(text)}` !== `${ids}`);
  expect(changed.length).toBeGreaterThan(4);
  for (const trace of traces) expect(scoreItem(trace).completionIds).toBe(trace.ids);
  // The ids that go on are those that were sampled: only they have the log-probabilities of the sampler.
  const sequencesOf = (completions: readonly (readonly number[])[]) =>
    completions.map((ids) => ({
      ids: [...prompt.ids, ...ids],
      mask: [...prompt.ids.map(() => 0), ...ids.map(() => 1)],
    }));
  const options = { engine, model, parameters, batchSize: 8, bucket: 16 };
  const scores = await sequenceLogProbs(sequencesOf(traces.map(({ ids }) => ids)), options);
  const sums = traces.map(({ logProbs }) => Array.from(logProbs).reduce((sum, x) => sum + x, 0));
  scores.forEach((score, i) => {
    expect(score).toBeCloseTo(sums[i]!, 2);
  });
  const again = await sequenceLogProbs(
    sequencesOf(changed.map(({ text }) => tokenizer.encode(text))),
    options,
  );
  again.forEach((score, i) => {
    expect(Math.abs(score - sums[traces.indexOf(changed[i]!)]!)).toBeGreaterThan(1);
  });
});

/** Places that turn texts into ids, with the texts they read. A new one must not read what a model wrote. */
const encoders: Readonly<Record<string, string>> = {
  'cli/generate/sampling-fields.ts': 'stop tokens of the command line',
  'cli/generate/source.ts':
    'answers of a server that returns no token ids: they are counted and shown, not learned from',
  'cli/quickstart/policy.ts': 'prompts',
  'data/encoder.ts': 'rows of data',
  'generate/constraint/text-constraints.ts': 'choices that a user allows',
  'data/text-encoder.ts': 'texts of rows, for encoders and their score heads',
  'data/segments.ts': 'rendered conversations of rows',
  'methods/reward/prm.ts': 'the separator of steps',
  'parts/density-weights.ts': 'prompts of rows, for a model that embeds them with a tokenizer of its own',
  'parts/scorer/process-scorer.ts':
    'steps of a completion, between which a process reward model reads separators',
  'parts/scorer/classifier.ts': 'texts, for a model with a tokenizer of its own',
};

it('tokenizes texts in few places, none of them behind a sampler', () => {
  const source = new URL('../../', import.meta.url).pathname;
  const found = readdirSync(source, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts') && !file.startsWith('tokenizer/'))
    .filter((file) => /okenizer\??\.encode(Pair)?[!?.]*\(/.test(readFileSync(join(source, file), 'utf8')));
  expect(found.sort()).toEqual(Object.keys(encoders).sort());
});
