import { afterAll, describe, expect, it } from 'vitest';
import { evaluateClassifier } from '../../../test/support/golden-encoder.ts';
import { goldenFolder } from '../../../test/support/golden-model.ts';
import { letters, lettersTokenizer as tokenizer } from '../../../test/support/letters-tokenizer.ts';
import { createInterpreter } from '../../engine/interpreter.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { readClassifier } from '../../models/encoder-checkpoint.ts';
import { trainBpe } from '../../tokenizer/index.ts';
import { type ClassifierText, classifierScorer, createClassifier, labelScores } from './classifier.ts';

const texts: readonly ClassifierText[] = [
  'a b c',
  ['d e', 'f g h'],
  'p',
  'a b c d e f g h i j k l m n o p a b c d',
];

describe.each(['bert-pairs', 'modernbert-options'])('createClassifier, %s', (name) => {
  const engine = createOrtEngine({ threads: 1 });
  afterAll(() => engine.dispose());
  const classifier = readClassifier(goldenFolder(name));

  it('scores texts of any length in order, each as alone in float64', async () => {
    const { classify, dispose } = createClassifier({
      engine,
      classifier,
      tokenizer,
      batchSize: 3,
      bucket: 8,
    });
    const all = await classify(texts);
    dispose();
    for (const [index, text] of texts.entries()) {
      const { ids, types } =
        typeof text === 'string'
          ? { ids: tokenizer.encode(text), types: undefined }
          : tokenizer.encodePair!(text[0], text[1]);
      const alone = await evaluateClassifier(createInterpreter(), classifier, {
        ids: [ids],
        counted: [ids.map(() => 1)],
        labels: [0],
        ...(types === undefined || classifier.model.tokenTypes === 1 ? {} : { types: [types] }),
      });
      const { logits, scores } = all[index]!;
      for (const [i, logit] of logits.entries()) expect(logit).toBeCloseTo(Number(alone.scores![i]), 4);
      expect(Object.values(scores)).toEqual(labelScores(logits, 'one-of'));
      expect(Object.keys(scores)).toEqual(['no', 'maybe', 'yes']);
    }
    // Token types count where the model has them: the pair is not what its texts are in a row.
    const [joined] = await createClassifier({ engine, classifier, tokenizer }).classify(['d e [SEP] f g h']);
    const distance = Math.abs(joined!.logits[0]! - all[1]!.logits[0]!);
    if (classifier.model.tokenTypes > 1) expect(distance).toBeGreaterThan(0.01);
    else expect(distance).toBeLessThan(1e-4);
  });

  it('refuses texts that are too long, or cuts them and keeps SEP', async () => {
    const long = Array.from({ length: 40 }, (_, i) => letters[i % 16]).join(' ');
    const options = { engine, classifier, tokenizer };
    await expect(createClassifier(options).classify(['a', long])).rejects.toThrow(
      'text 2: expected at most 32 tokens, received 42. Shorten it, or set truncate to cut its end.',
    );
    const whole = Array.from({ length: 30 }, (_, i) => letters[i % 16]).join(' ');
    const [cut, exact] = await createClassifier({ ...options, truncate: true }).classify([long, whole]);
    expect(Array.from(cut!.logits)).toEqual(Array.from(exact!.logits));
  });

  it('is a scorer of completions or pairs', async () => {
    const own = createClassifier({ engine, classifier, tokenizer });
    const items = [{ prompt: 'a b', completion: 'c d', promptIds: [1], completionIds: [2] }];
    const [alone, pair] = await own.classify(['c d', ['a b', 'c d']]);
    expect(await classifierScorer({ classifier: own, label: 'yes' }).score(items)).toEqual([
      alone!.scores.yes,
    ]);
    const judge = classifierScorer({ classifier: own, label: 'no', judge: 'pair' });
    expect(await judge.score(items)).toEqual([pair!.scores.no]);
    expect(() => classifierScorer({ classifier: own, label: 'toxic' })).toThrow(
      'scorer toxic: label: expected no, maybe, yes, received toxic',
    );
  });

  it('refuses what its tokenizer or model cannot do', async () => {
    const wide = trainBpe([], { vocabSize: 257, specialTokens: { eos: '</s>' } });
    expect(() => createClassifier({ engine, classifier, tokenizer: wide })).toThrow('ids below 24');
    const { encodePair: _, ...single } = tokenizer;
    await expect(
      createClassifier({ engine, classifier, tokenizer: single }).classify([['a', 'b']]),
    ).rejects.toThrow('text 1: expected one text, received a pair, which this tokenizer does not know');
  });
});

describe('labelScores', () => {
  it('gives shares, probabilities or the numbers', () => {
    // e^0 : e^ln 3 = 1 : 3; 1 / (1 + e^−ln 3) = 3/4
    expect(labelScores([0, Math.log(3)], 'one-of')).toEqual([
      expect.closeTo(0.25, 14),
      expect.closeTo(0.75, 14),
    ]);
    expect(labelScores([0, Math.log(3)], 'each')).toEqual([0.5, expect.closeTo(0.75, 14)]);
    expect(labelScores([2, -3], 'number')).toEqual([2, -3]);
    expect(labelScores([1e4, -1e4], 'each')).toEqual([1, 0]);
    expect(labelScores([1e4, -1e4], 'one-of')).toEqual([1, 0]);
  });
});
