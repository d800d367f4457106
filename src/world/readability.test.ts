import { describe, expect, it } from 'vitest';
import { countSyllables, fleschKincaid, rewriteQuality, sari } from './readability.ts';
import { bestStyle } from './respond.ts';
import { createWorld } from './world.ts';

it('counts syllables by groups of vowels, without a silent e', () => {
  const counts = { cat: 1, make: 1, kettle: 2, color: 2, predominantly: 5, the: 1, rhythm: 1, area: 2 };
  for (const [word, count] of Object.entries(counts))
    expect([word, countSyllables(word)]).toEqual([word, count]);
});

describe('fleschKincaid', () => {
  it('is 0.39 words/sentence + 11.8 syllables/word − 15.59', () => {
    expect(fleschKincaid('The cat sat.')).toBeCloseTo(0.39 * 3 + 11.8 - 15.59, 12);
    // Two sentences, five words, six syllables.
    expect(fleschKincaid('The cat sat. Color it!')).toBeCloseTo((0.39 * 5) / 2 + (11.8 * 6) / 5 - 15.59, 12);
    expect(fleschKincaid('')).toBe(0);
  });

  it('rates technical language harder than plain', () => {
    expect(fleschKincaid('The Velmar kettle exhibits a predominantly red coloration.')).toBeGreaterThan(
      fleschKincaid('The Velmar kettle is red.') + 8,
    );
  });
});

describe('sari', () => {
  it('is 100 for the reference and the same reference', () => {
    // All kept, deleted and added n-grams are right for n = 1 … 4.
    const [source, reference] = ['a b c d e f g h', 'a b c d x y z w'];
    expect(sari(source, reference, [reference]).sari).toBeCloseTo(100, 10);
  });

  it('of a copy has no deletions and no additions; what is kept has precision 1/2 at n = 1', () => {
    // Source a b, reference a c. Keep, n = 1: precision 1/2 (b is not in the reference), recall 1: F1 = 2/3; longer: 0.
    const score = sari('a b', 'a b', ['a c']);
    expect(score.keep).toBeCloseTo(2 / 3 / 4, 12);
    expect([score.delete, score.add]).toEqual([0, 0]);
    expect(score.sari).toBeCloseTo((100 * (2 / 3 / 4)) / 3, 12);
  });

  it('agrees with the published script on its demonstration, to 1e-8', () => {
    const source = 'About 95 species are currently accepted .';
    const references = [
      'About 95 species are currently known .',
      'About 95 species are now accepted .',
      '95 species are now accepted .',
    ];
    const score = (output: string): number => sari(source, output, references).sari;
    expect(score('About 95 you now get in .')).toBeCloseTo(26.82782412, 7);
    expect(score('About 95 species are now agreed .')).toBeCloseTo(58.89995423, 7);
    expect(score('About 95 species are currently agreed .')).toBeCloseTo(50.71608865, 7);
    // A copy, with 0/0 = 0.
    expect(score(source)).toBeCloseTo(21.87321753, 7);
  });
});

describe('rewriteQuality', () => {
  const world = createWorld({ seed: 1 });
  const requests = world.requests({ split: 'test', count: 30, kinds: ['rewrite'] });

  it('is best for the plain sentence, and leaves other requests alone', () => {
    for (const request of requests) {
      const quality = (technical: boolean) => {
        const style = { ...bestStyle(request), technical, manner: 'neutral' } as const;
        return rewriteQuality(request, world.respond(request, style))!;
      };
      expect(quality(false).sari).toBeGreaterThan(quality(true).sari + 30);
      expect(quality(false).grade).toBeLessThan(quality(false).sourceGrade - 3);
      expect(quality(true).grade).toBeCloseTo(quality(true).sourceGrade, 12);
    }
    const [question] = world.requests({ split: 'test', count: 1, kinds: ['question'] });
    expect(rewriteQuality(question!, ' It is red.')).toBeUndefined();
  });
});
