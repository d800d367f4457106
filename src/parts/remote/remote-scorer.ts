/** Scores and log-probabilities from an OpenAI-compatible server. */
import { z } from 'zod';
import { DataError } from '../../core/errors.ts';
import type { Scorer } from '../scorer/scorer.ts';
import type { RemoteClient } from './openai-client.ts';

export interface RemoteScorerOptions {
  readonly client: RemoteClient;
  /** Its name on the server. */
  readonly model: string;
  readonly name?: string;
  /** Completions per request; 32 when left out. */
  readonly batchSize?: number;
}

const scoresSchema = z.looseObject({
  data: z.array(z.looseObject({ index: z.int(), score: z.number().nullable() })),
});

/** A reward model that `heed serve` serves, over `/v1/score`. Token ids are sent as they are. */
export function remoteScorer({ client, model, name = model, batchSize = 32 }: RemoteScorerOptions): Scorer {
  return {
    name,
    async score(items) {
      const starts = Array.from({ length: Math.ceil(items.length / batchSize) }, (_, i) => i * batchSize);
      const batches = await Promise.all(
        starts.map(async (start) => {
          const part = items.slice(start, start + batchSize);
          const answer = await client.post('/score', {
            model,
            input: part.map(({ promptIds, completionIds }) => ({
              prompt_token_ids: Array.from(promptIds),
              completion_token_ids: Array.from(completionIds),
            })),
          });
          const parsed = scoresSchema.safeParse(answer);
          const data = parsed.success ? [...parsed.data.data].sort((a, b) => a.index - b.index) : [];
          if (data.length !== part.length)
            throw wrongAnswer(`${client.baseUrl}/score`, `${part.length} scores`);
          return data.map(({ score }) => score ?? undefined);
        }),
      );
      return batches.flat();
    },
    dispose() {},
  };
}

const echoSchema = z.looseObject({
  choices: z
    .array(z.looseObject({ logprobs: z.looseObject({ token_logprobs: z.array(z.number().nullable()) }) }))
    .min(1),
});

/**
 * log p(token t + 1 | tokens up to t) of each sequence, nats, by `echo` of a completion without new tokens: what
 * `logProbForward` computes locally. Works with heed and with vLLM (which makes one token more; it is left out).
 *
 * @throws DataError when the server gives no log-probabilities of the prompt
 */
export async function remoteLogProbs(
  client: RemoteClient,
  model: string,
  sequences: readonly ArrayLike<number>[],
): Promise<Float32Array[]> {
  return Promise.all(
    sequences.map(async (ids) => {
      const body = { model, prompt: Array.from(ids), echo: true, logprobs: 0, max_tokens: 0, temperature: 0 };
      const parsed = echoSchema.safeParse(await client.post('/completions', body));
      const found = parsed.success ? parsed.data.choices[0]!.logprobs.token_logprobs : [];
      const counted = found.slice(1, ids.length);
      if (counted.length !== ids.length - 1 || counted.includes(null))
        throw wrongAnswer(
          `${client.baseUrl}/completions`,
          `${ids.length - 1} log-probabilities of the prompt`,
        );
      return Float32Array.from(counted as number[]);
    }),
  );
}

function wrongAnswer(where: string, expected: string): DataError {
  return new DataError({
    where,
    expected,
    received: 'another answer',
    fix: 'Check that the server supports this request (heed serve does)',
  });
}
