/** The work of `heed generate`: completions of rows, handed on in whole prompts as they end. */
import { ConfigError, DataError } from '../../core/errors.ts';
import type { Rng } from '../../core/rng.ts';
import type { EncodedPrompt, Row } from '../../data/index.ts';
import {
  type BeamOptions,
  bestOf,
  type Completion,
  completionText,
  type Generator,
  meanLogProb,
  type RowOptions,
} from '../../generate/index.ts';
import { type Score, type Scorer, scoreAll } from '../../parts/scorer/scorer.ts';
import type { Tokenizer } from '../../tokenizer/index.ts';
import type { ResultRecord } from './result-file.ts';

/** A row and what was made of it. */
export interface Job {
  /** Place of the row in the data: its draws depend on it. */
  readonly index: number;
  readonly row: Row;
  readonly prompt: EncodedPrompt;
  readonly options: RowOptions;
}

export interface CompleteOptions {
  readonly generator: Generator;
  readonly tokenizer: Tokenizer;
  readonly rng: Rng;
  readonly batchSize: number;
  /** Completions per row that are kept, of `samples`. */
  readonly keep: number;
  readonly samples: number;
  /** Ranks the samples; their mean log-probability does where it is left out. */
  readonly scorer?: Scorer | undefined;
  /** Likeliest tokens, and the entropy, to tell at each token; none when undefined. */
  readonly logprobs?: number | undefined;
  /** Beam search instead of sampling. */
  readonly search?: BeamOptions | undefined;
  /** Tokens to guess at a time. */
  readonly speculate?: number | undefined;
  /** Awaited after each step. */
  readonly onTokens: (tokens: number) => Promise<void>;
  /** Awaited with the records of a row, best first. */
  readonly onRecords: (records: readonly ResultRecord[]) => Promise<void>;
}

/** Completes all jobs. @throws whatever `onTokens` throws, which ends it */
export async function completeJobs(jobs: readonly Job[], options: CompleteOptions): Promise<void> {
  const { generator, tokenizer, rng, batchSize, keep, samples, scorer, logprobs, search, speculate } =
    options;
  const [first] = jobs;
  if (first === undefined) return;
  const decode = (ids: readonly number[]): string => tokenizer.decode(ids);
  await generator.generate(
    jobs.map(({ prompt }) => prompt.ids),
    {
      ...first.options,
      ...{ rng, batchSize, decode, n: samples },
      ...search,
      speculate,
      keys: jobs.map(({ index }) => index),
      perPrompt: (at) => jobs[at]!.options,
      onTokens: options.onTokens,
      ...(logprobs === undefined ? {} : { topLogProbs: logprobs, entropy: true }),
      onCompletions: async (at, completions) => {
        const job = jobs[at]!;
        const texts = completions.map((completion) => completionText(completion, decode));
        const scores = await scoresOf(job, completions, texts, scorer, tokenizer);
        const ranked = bestOf([...completions.keys()], keep, (sample) =>
          scorer === undefined
            ? meanLogProb(known(completions[sample]!.logProbs, keep < samples))
            : (scores[sample] ?? Number.NEGATIVE_INFINITY),
        );
        await options.onRecords(
          ranked.map((sample) => ({
            index: job.index,
            ...(samples > 1 ? { sample } : {}),
            prompt: job.row.columns.prompt,
            completion: texts[sample]!,
            ...(search === undefined ? {} : { beamScore: completions[sample]!.score }),
            ...(scorer === undefined ? {} : { score: scores[sample] ?? null }),
            ...tokenFields(completions[sample]!, tokenizer),
          })),
        );
      },
    },
  );
}

/** Log-probabilities to rank by. @throws DataError where there are none */
function known(logProbs: readonly number[], ranked: boolean): readonly number[] {
  if (!ranked || !logProbs.some(Number.isNaN)) return logProbs;
  throw new DataError({
    where: '--best-of',
    expected: 'log-probabilities to rank by',
    received: 'none from the server',
    fix: 'Rank by a --reward, or use a server that gives token ids with log-probabilities',
  });
}

function tokenFields(completion: Completion, tokenizer: Tokenizer): Record<string, unknown> {
  const { ids, logProbs, samplingLogProbs, finish, stop, entropies, topLogProbs } = completion;
  return {
    ...{ ids, logProbs, samplingLogProbs, finish },
    ...(stop === undefined ? {} : { stop }),
    ...(entropies === undefined ? {} : { entropies }),
    ...(topLogProbs === undefined
      ? {}
      : {
          topLogProbs: topLogProbs.map((top) =>
            top.map(({ id, logProb }) => ({ id, token: tokenizer.tokenText(id), logProb })),
          ),
        }),
  };
}

async function scoresOf(
  { row, prompt }: Job,
  completions: readonly Completion[],
  texts: readonly string[],
  scorer: Scorer | undefined,
  tokenizer: Tokenizer,
): Promise<readonly Score[]> {
  if (scorer === undefined) return [];
  const text = tokenizer.decode(prompt.ids);
  return scoreAll(
    scorer,
    completions.map(({ ids, finish }, sample) => ({
      ...{ prompt: text, completion: texts[sample]!, promptIds: prompt.ids, completionIds: ids, finish, row },
    })),
  );
}

/** How many samples are made and kept. @throws ConfigError when fewer are made than kept */
export function sampleCounts({ n, bestOf: made = n }: { n: number; bestOf?: number | undefined }): {
  readonly keep: number;
  readonly samples: number;
} {
  if (made >= n) return { keep: n, samples: made };
  throw new ConfigError({
    where: '--best-of',
    expected: `at least n, ${n}`,
    received: String(made),
    fix: 'Make at least as many completions as are kept',
  });
}
