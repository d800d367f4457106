/** Choices found by beam search instead of drawn. */
import type { ChoicesOptions } from './choices.ts';
import { checkPrompt, sessionOptions, textStream } from './choices.ts';
import type { Made } from './completions.ts';
import { ApiError, invalid } from './errors.ts';
import type { SamplingBody } from './schemas.ts';

export interface SearchOptions extends Omit<ChoicesOptions, 'onPiece'> {
  /** Sequences given per prompt, of the `n` beams followed. */
  readonly keep: number;
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal;
}

/**
 * The `keep` best sequences of each prompt, best first.
 *
 * @throws ApiError 400 for what cannot be, 429 when too many requests wait
 */
export async function searchChoices(options: SearchOptions): Promise<Made[]> {
  const { model, prompts, body, n: beams, keep, maxNewTokens, signal } = options;
  const room = model.slots + model.queue;
  if (prompts.length * beams > room)
    throw invalid(
      'n',
      `${prompts.length * beams} beams are more than this server takes in one request (${room}).`,
    );
  for (const prompt of prompts) checkPrompt(prompt, model);
  const perPrompt = prompts.map((): Made[] => []);
  const withdrawn = new ApiError({
    ...{ status: 503, type: 'service_unavailable_error', code: 'withdrawn' },
    message: 'The search was withdrawn.',
  });
  const search = {
    ...{ beams, lengthPenalty: body.length_penalty ?? 1, earlyStopping: body.early_stopping ?? false },
  };
  await model.search(prompts, {
    ...sessionOptions(model, body, maxNewTokens, 0),
    ...{ ...search, n: keep, rng: model.rng, batchSize: Math.max(model.slots, beams) },
    perPrompt: (index) => ({
      maxNewTokens: Math.min(maxNewTokens, model.maxTokens - prompts[index]!.length),
    }),
    onTokens() {
      if (signal.aborted) throw withdrawn;
    },
    onCompletions(index, completions) {
      perPrompt[index] = completions.map(({ ids, logProbs, samplingLogProbs, finish, score }) => {
        const stream = textStream(model, { ...body, stream: false });
        const pieces = ids.map((id, i) => stream.push(id, i === ids.length - 1));
        return {
          text: pieces.join(''),
          tokens: ids.map((id, i) => ({
            ...{ id, logProb: logProbs[i]!, samplingLogProb: samplingLogProbs[i]! },
          })),
          ...{ finish, score: score! },
        };
      });
    },
  });
  const fewest = Math.min(...perPrompt.map(({ length }) => length));
  if (fewest < keep)
    throw invalid('n', `There are only ${fewest} continuations to be found, and ${keep} were asked for.`);
  return perPrompt.flat();
}

/** Refuses what beam search has not. @throws ApiError 400 naming the field */
export function checkSearch(body: SamplingBody, topLogProbs: number): void {
  const { temperature, top_p: topP, top_k: topK, min_p: minP, typical_p: typicalP } = body;
  const wrong: Readonly<Record<string, boolean>> = {
    stream: body.stream === true,
    stop: body.stop != null,
    logprobs: topLogProbs > 0,
    return_entropy: body.return_entropy === true,
    response_format: body.response_format != null && body.response_format.type !== 'text',
    structured_outputs: body.structured_outputs != null,
    guided_choice: body.guided_choice != null,
    guided_regex: body.guided_regex != null,
    guided_json: body.guided_json != null,
    // What clients send for sampling that is none is taken.
    temperature: temperature != null && temperature !== 0 && temperature !== 1,
    top_p: (topP ?? 1) < 1,
    top_k: (topK ?? 0) > 0,
    min_p: (minP ?? 0) > 0,
    typical_p: (typicalP ?? 1) < 1,
  };
  const field = Object.keys(wrong).find((name) => wrong[name]);
  if (field === undefined) return;
  const words =
    field === 'logprobs'
      ? 'Beam search gives the log-probabilities of its own tokens only.'
      : `Beam search has no ${field}.`;
  throw invalid(field, `${words} Leave ${field} out, or use_beam_search.`);
}
