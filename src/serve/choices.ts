/** Completions of prompts as they come: text pieces, tokens and how each choice ended. */
import { ConfigError } from '../core/errors.ts';
import { createRng, type Rng } from '../core/rng.ts';
import type { Constraint, RequestOptions, SessionRequest, TokenEvent } from '../generate/index.ts';
import { invalid } from './errors.ts';
import type { SamplingBody } from './schemas.ts';
import { busy, type ServedModel } from './served-model.ts';
import { createTextStream, createWholeText, type TextStream } from './text-stream.ts';

export interface ChoicesOptions {
  readonly model: ServedModel;
  readonly prompts: readonly (readonly number[])[];
  readonly body: SamplingBody;
  readonly n: number;
  readonly maxNewTokens: number;
  readonly topLogProbs: number;
  /** A number per request: draws of requests without a seed depend on it. */
  readonly requestNumber: number;
  /** Called with each token, in the order of each choice. */
  readonly onPiece: (piece: Piece) => void;
}

/** One token of a choice, and the text that is certain since. */
export interface Piece {
  /** prompt · n + sample */
  readonly choice: number;
  readonly text: string;
  readonly token: Pick<TokenEvent, 'id' | 'logProb' | 'samplingLogProb' | 'topLogProbs' | 'entropy'>;
  readonly finish?: 'stop' | 'length';
}

export interface Choices {
  /** Settles when every choice has ended. */
  readonly done: Promise<void>;
  /** Withdraws what is still running. */
  cancel(): void;
}

/**
 * Starts all choices.
 *
 * @throws ApiError 429 when the model has no room to queue them, 400 for options that cannot be
 */
export function startChoices(options: ChoicesOptions): Choices {
  const { model, prompts, body, n, maxNewTokens, topLogProbs, requestNumber, onPiece } = options;
  const session = model.session!;
  const rows = prompts.length * n;
  const room = model.slots + model.queue;
  if (rows > room)
    throw invalid(
      n > 1 ? 'n' : 'prompt',
      `${rows} completions are more than this server takes in one request (${room}).`,
    );
  if (session.active + session.waiting + rows > room)
    throw busy(1 + Math.floor(session.waiting / model.slots));
  for (const prompt of prompts) checkPrompt(prompt, model);
  const rng = body.seed == null ? model.rng.split(requestNumber) : seedRng(body.seed);
  const common = sessionOptions(model, body, maxNewTokens, topLogProbs);
  const requests: SessionRequest[] = [];
  const cancel = (): void => {
    for (const request of requests) request.cancel();
  };
  try {
    prompts.forEach((prompt, index) => {
      const streams = Array.from({ length: n }, () => textStream(model, body));
      const request: SessionRequest = session.add(prompt, {
        ...common,
        n,
        rng: index === 0 ? rng : rng.split(index),
        onToken: (event) => {
          const { sampleIndex } = event;
          const stream = streams[sampleIndex]!;
          const text = stream.push(event.id, event.finish !== undefined);
          const finish = stream.stopped === undefined ? event.finish : 'stop';
          if (stream.stopped !== undefined && event.finish === undefined) request.cancel(sampleIndex);
          const choice = index * n + sampleIndex;
          onPiece({ choice, text, token: event, ...(finish === undefined ? {} : { finish }) });
        },
      });
      requests.push(request);
    });
  } catch (error) {
    cancel();
    throw error;
  }
  const done = Promise.all(requests.map(({ completions }) => completions)).then(() => undefined);
  done.catch(cancel);
  return { done, cancel };
}

export function checkPrompt(prompt: readonly number[], model: ServedModel): void {
  if (prompt.length === 0) throw invalid('prompt', 'The prompt must have at least one token.');
  const foreign = prompt.find((id) => id >= model.vocabSize);
  if (foreign !== undefined)
    throw invalid('prompt', `Token id ${foreign} is outside the vocabulary of ${model.vocabSize}.`);
  if (prompt.length < model.maxTokens) return;
  throw invalid(
    'prompt',
    `This server's maximum context length is ${model.maxTokens} tokens, and the prompt has ${prompt.length}. Shorten the prompt.`,
    'context_length_exceeded',
  );
}

export function sessionOptions(
  model: ServedModel,
  body: SamplingBody,
  maxNewTokens: number,
  topLogProbs: number,
): Omit<RequestOptions, 'rng'> {
  const stopIds = new Set(body.stop_token_ids ?? []);
  if (body.ignore_eos !== true && model.tokenizer.eosId !== undefined) stopIds.add(model.tokenizer.eosId);
  const logitBias = new Map(Object.entries(body.logit_bias ?? {}).map(([id, bias]) => [Number(id), bias]));
  for (const id of logitBias.keys()) {
    if (id < model.vocabSize) continue;
    throw invalid(`logit_bias.${id}`, `Token id ${id} is outside the vocabulary of ${model.vocabSize}.`);
  }
  const constraint = constraintOf(model, body);
  return {
    ...(constraint === undefined ? {} : { constraint }),
    temperature: body.temperature ?? 1,
    topK: Math.max(body.top_k ?? 0, 0),
    topP: body.top_p ?? 1,
    minP: body.min_p ?? 0,
    typicalP: body.typical_p ?? 1,
    repetitionPenalty: body.repetition_penalty ?? 1,
    frequencyPenalty: body.frequency_penalty ?? 0,
    presencePenalty: body.presence_penalty ?? 0,
    minNewTokens: body.min_tokens ?? 0,
    logitBias,
    maxNewTokens,
    stopIds,
    topLogProbs,
    entropy: body.return_entropy === true,
  };
}

/** The constraint that a body asks for, in OpenAI's form or in either of vLLM's. */
function constraintOf(model: ServedModel, body: SamplingBody): Constraint | undefined {
  const { response_format: format, structured_outputs: outputs } = body;
  const json = body.guided_json ?? outputs?.json;
  const asked = {
    choice: body.guided_choice ?? outputs?.choice ?? undefined,
    regex: body.guided_regex ?? outputs?.regex ?? undefined,
    jsonSchema:
      (typeof json === 'string' ? parseSchema(json) : json) ??
      (format?.type === 'json_schema' ? format.json_schema.schema : undefined),
    jsonObject: format?.type === 'json_object' || outputs?.json_object === true ? (true as const) : undefined,
  };
  try {
    return model.constraints(asked);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const param =
      format?.type === 'json_schema' || format?.type === 'json_object'
        ? 'response_format'
        : outputs == null
          ? 'guided_json'
          : 'structured_outputs';
    throw invalid(asked.choice ? 'guided_choice' : asked.regex ? 'guided_regex' : param, error.message);
  }
}

function parseSchema(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw invalid('guided_json', `The schema is not valid JSON: ${(error as Error).message}.`);
  }
}

export function textStream(model: ServedModel, body: SamplingBody): TextStream {
  const skipSpecial = body.skip_special_tokens ?? true;
  const { eosId } = model.tokenizer;
  // The token that ends a completion is no text, also where special tokens are shown.
  const decode = (ids: readonly number[]): string =>
    model.tokenizer.decode(skipSpecial ? ids : ids.filter((id) => id !== eosId), { skipSpecial });
  const stops = typeof body.stop === 'string' ? [body.stop] : (body.stop ?? []);
  if (body.stream !== true && stops.length === 0) return createWholeText(decode);
  return createTextStream({ decode, stops, includeStop: body.include_stop_str_in_output ?? false });
}

/** Seeds may be negative. */
const seedRng = (seed: number): Rng => (seed >= 0 ? createRng(seed) : createRng(-seed).split('negative'));
