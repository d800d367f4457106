/** A generator whose tokens are made by an OpenAI-compatible server: ids in, ids and log-probabilities out. */
import { z } from 'zod';
import { ConfigError, DataError } from '../../core/errors.ts';
import type {
  Completion,
  Constraint,
  GenerateOptions,
  Generator,
  RowOptions,
  SamplingOptions,
} from '../../generate/index.ts';
import type { RemoteClient } from './openai-client.ts';

export interface RemoteGeneratorOptions {
  readonly client: RemoteClient;
  /** Its name on the server. */
  readonly model: string;
  /**
   * Ids of a completion's text, for servers that return no token ids. Such ids may differ from those that were sampled, so
   * that their log-probabilities are not given: they are NaN.
   */
  readonly encode?: ((text: string) => readonly number[]) | undefined;
  /** Milliseconds, for `time`. */
  readonly clock?: (() => number) | undefined;
}

const choiceSchema = z.looseObject({
  index: z.int(),
  text: z.string(),
  finish_reason: z.string().nullish(),
  stop_reason: z.union([z.string(), z.number()]).nullish(),
  token_ids: z.array(z.int()).nullish(),
  sampling_logprobs: z.array(z.number()).nullish(),
  token_logprobs: z.array(z.number()).nullish(),
  token_entropies: z.array(z.number()).nullish(),
  logprobs: z
    .looseObject({
      token_logprobs: z.array(z.number().nullable()).nullish(),
      // llama.cpp answers in the form of chats, with ids.
      content: z.array(z.looseObject({ id: z.int().optional(), logprob: z.number() })).nullish(),
    })
    .nullish(),
});
const answerSchema = z.looseObject({ choices: z.array(choiceSchema) });
type Choice = z.output<typeof choiceSchema>;

/**
 * A generator with the interface of the local one. One request per prompt; the seed of each is drawn from `rng` and the
 * prompt's key, so that a server that honours seeds gives a prompt the same completion whatever else is asked.
 *
 * `logProbs` are what the server gives as log-probabilities: vLLM by default and heed give the model's own, at temperature 1.
 * `samplingLogProbs` are given by heed's server; elsewhere they are known where sampling is plain (temperature 1, no
 * truncation, no penalties) or greedy, and NaN otherwise.
 *
 * @throws DataError when the server returns no token ids and there is no `encode`, or answers in another form
 * @throws ConfigError for options that a server cannot be asked for: `topLogProbs`, `beams`,
 *   `speculate`, and a `constraint` that was not made by `textConstraints`
 */
export function createRemoteGenerator(options: RemoteGeneratorOptions): Generator {
  const { client, model, encode, clock = () => 0 } = options;
  const time = { engine: 0, total: 0 };
  return {
    time,
    async generate(prompts, given) {
      const start = clock();
      refuseLocal(given);
      const n = given.n ?? 1;
      let told: Promise<void> = Promise.resolve();
      const made = await Promise.all(
        prompts.map(async (prompt, promptIndex) => {
          const sampling = { ...given, ...given.perPrompt?.(promptIndex) };
          const key = given.keys?.[promptIndex] ?? promptIndex;
          const answer = await client.post('/completions', {
            ...requestOf(sampling),
            ...{ model, prompt: Array.from(prompt), n },
            ...(given.entropy === true ? { return_entropy: true } : {}),
            seed: given.rng.split('remote').integer(2 ** 31, key),
          });
          const choices = readChoices(answer, n, client.baseUrl);
          const completions = choices.map((choice) => completionOf(choice, sampling, encode, given.entropy));
          completions.forEach((completion, sampleIndex) => {
            announce(completion, promptIndex, sampleIndex, given);
          });
          // One prompt at a time, as a local generator tells of them, though answers come at once.
          told = told.then(async () => {
            await given.onCompletions?.(promptIndex, completions);
            await given.onTokens?.(completions.reduce((total, { ids }) => total + ids.length, 0));
          });
          await told;
          return completions;
        }),
      );
      time.total += clock() - start;
      time.engine = time.total;
      return made.flat();
    },
    dispose() {},
  };
}

function refuseLocal(options: GenerateOptions): void {
  const name = (['topLogProbs', 'beams', 'speculate'] as const).find((key) => options[key]);
  if (name === undefined) return;
  throw new ConfigError({
    where: `generate(${name})`,
    expected: 'an option that a remote server has',
    received: String(options[name]),
    fix: 'Use a local generator, or leave it out',
  });
}

/** OpenAI's names, and vLLM's for what OpenAI lacks. What is at its default is left out: not every server knows every name. */
function requestOf(sampling: RowOptions): Record<string, unknown> {
  const unless = (name: string, value: unknown, neutral: unknown): Record<string, unknown> =>
    value === undefined || value === neutral ? {} : { [name]: value };
  return {
    max_tokens: sampling.maxNewTokens,
    temperature: sampling.temperature,
    logprobs: 0,
    return_token_ids: true,
    // The tokens of a stop string are part of the completion, as they are locally.
    ...(sampling.stopTexts?.length ? { stop: sampling.stopTexts, include_stop_str_in_output: true } : {}),
    ...(sampling.stopIds.size > 0 ? { stop_token_ids: [...sampling.stopIds] } : {}),
    // What ends a completion is what the caller says, and nothing else.
    ignore_eos: true,
    ...unless('top_k', sampling.topK, 0),
    ...unless('top_p', sampling.topP, 1),
    ...unless('min_p', sampling.minP, 0),
    ...unless('typical_p', sampling.typicalP, 1),
    ...unless('repetition_penalty', sampling.repetitionPenalty, 1),
    ...unless('frequency_penalty', sampling.frequencyPenalty, 0),
    ...unless('presence_penalty', sampling.presencePenalty, 0),
    ...unless('min_tokens', sampling.minNewTokens, 0),
    ...(sampling.constraint === undefined ? {} : { structured_outputs: outputsOf(sampling.constraint) }),
    ...(sampling.logitBias?.size
      ? {
          logit_bias: Object.fromEntries(
            Array.from(sampling.logitBias, ([id, bias]) => [id, Math.max(-100, Math.min(100, bias))]),
          ),
        }
      : {}),
  };
}

/** A constraint in vLLM's words, which `heed serve` knows, too. */
function outputsOf({ spec }: Constraint): Record<string, unknown> {
  if (spec !== undefined) {
    const { choice, regex, jsonSchema: json, jsonObject } = spec;
    return { choice, regex, json, json_object: jsonObject };
  }
  throw new ConfigError({
    where: 'generate(constraint)',
    expected: 'one made by textConstraints, which a server can be told',
    received: 'another',
    fix: 'Use a local generator, or leave it out',
  });
}

function readChoices(answer: unknown, n: number, url: string): Choice[] {
  const parsed = answerSchema.safeParse(answer);
  const choices = parsed.success ? [...parsed.data.choices].sort((a, b) => a.index - b.index) : [];
  if (choices.length === n) return choices;
  const issue = parsed.success ? undefined : parsed.error.issues[0];
  throw new DataError({
    where: `${url}/completions`,
    expected: `an answer with ${n} choices`,
    received: issue === undefined ? `${choices.length}` : `${issue.path.join('.')}: ${issue.message}`,
    fix: 'Check that the server is OpenAI-compatible',
  });
}

function completionOf(
  choice: Choice,
  options: RowOptions,
  encode: RemoteGeneratorOptions['encode'],
  entropy = false,
): Completion {
  const { logprobs } = choice;
  const content = logprobs?.content;
  const fromContent = content?.every(({ id }) => id !== undefined) ? content.map(({ id }) => id!) : undefined;
  const exact = choice.token_ids ?? fromContent;
  const ids = exact ?? encode?.(choice.text);
  if (ids === undefined) {
    throw new DataError({
      where: 'remote completion',
      expected: 'token_ids',
      received: 'text only',
      fix: 'Use a server that returns token ids (vLLM, SGLang, llama.cpp, heed serve), or pass `encode`',
    });
  }
  const given = choice.token_logprobs ?? logprobs?.token_logprobs ?? content?.map(({ logprob }) => logprob);
  const unknown = ids.map(() => Number.NaN);
  const usable = exact !== undefined && given?.length === ids.length;
  const logProbs = usable ? given.map((logProb) => logProb ?? Number.NaN) : unknown;
  const last = ids.at(-1);
  const stop =
    last !== undefined && options.stopIds.has(last)
      ? last
      : (options.stopTexts ?? []).find((text) => choice.text.includes(text));
  const finish = choice.finish_reason === 'length' ? 'length' : 'stop';
  const entropies = choice.token_entropies ?? undefined;
  if (entropy && entropies?.length !== ids.length) {
    throw new DataError({
      where: 'remote completion',
      expected: `token_entropies, ${ids.length} of them`,
      received: entropies === undefined ? 'none' : String(entropies.length),
      fix: 'Ask without entropy, or use heed serve',
    });
  }
  return {
    ids: [...ids],
    logProbs,
    samplingLogProbs: choice.sampling_logprobs ?? samplingLogProbs(logProbs, options),
    finish,
    ...(entropy ? { entropies: entropies! } : {}),
    ...(finish === 'stop' && stop !== undefined ? { stop } : {}),
  };
}

/** What can be said of the distribution that was drawn from, when the server does not. */
function samplingLogProbs(logProbs: readonly number[], sampling: SamplingOptions): number[] {
  if (sampling.temperature === 0) return logProbs.map(() => 0);
  const plain =
    sampling.temperature === 1 &&
    sampling.topK === 0 &&
    sampling.topP >= 1 &&
    (sampling.minP ?? 0) === 0 &&
    (sampling.typicalP ?? 1) >= 1 &&
    (sampling.repetitionPenalty ?? 1) === 1 &&
    (sampling.frequencyPenalty ?? 0) === 0 &&
    (sampling.presencePenalty ?? 0) === 0 &&
    (sampling.minNewTokens ?? 0) === 0 &&
    (sampling.logitBias?.size ?? 0) === 0 &&
    sampling.constraint === undefined;
  return plain ? [...logProbs] : logProbs.map(() => Number.NaN);
}

/** Tells of the tokens of a completion, when it has come. */
function announce(
  { ids, logProbs, samplingLogProbs, entropies, finish }: Completion,
  promptIndex: number,
  sampleIndex: number,
  { onToken }: GenerateOptions,
): void {
  ids.forEach((id, position) => {
    onToken?.({
      ...{ promptIndex, sampleIndex, position, id },
      logProb: logProbs[position]!,
      samplingLogProb: samplingLogProbs[position]!,
      ...(entropies === undefined ? {} : { entropy: entropies[position]! }),
      ...(position === ids.length - 1 ? { finish } : {}),
    });
  });
}
