/** `/v1/completions` and `/v1/chat/completions`: one way of answering, two forms of the answer. */
import { toRows } from '../data/index.ts';
import { bestOf, meanLogProb } from '../generate/index.ts';
import { checkSearch, searchChoices } from './beam-choices.ts';
import type { Piece } from './choices.ts';
import { startChoices } from './choices.ts';
import { errorBody, invalid, toApiError } from './errors.ts';
import { chatLogProb, completionLogProbs } from './logprobs.ts';
import { type ChatBody, type CompletionBody, listOf, type SamplingBody } from './schemas.ts';
import type { ScoredToken, ServedModel } from './served-model.ts';
import { eventStream } from './sse.ts';

export interface Call {
  readonly model: ServedModel;
  /** Id of the request, part of the answer's id. */
  readonly requestId: string;
  readonly requestNumber: number;
  /** Seconds since 1970. */
  readonly created: number;
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal;
  readonly headers: Readonly<Record<string, string>>;
  /** Called when tokens were made, for metrics. */
  readonly onTokens: (kind: 'prompt' | 'completion', count: number) => void;
  readonly onFirstToken: () => void;
  /** Called with what goes wrong after the answer has begun. */
  readonly onError: (error: unknown) => void;
  /** Called once, when the whole answer is out or the client is gone. */
  readonly onEnd: () => void;
}

/** What tells the two kinds of answers apart. */
interface Form {
  readonly object: string;
  readonly chunkObject: string;
  readonly prefix: string;
  choice(index: number, made: Made): Record<string, unknown>;
  chunk(index: number, text: string, tokens: readonly Token[], offset: number): Record<string, unknown>;
  /** Sent before the first text of a choice. */
  first?(index: number): Record<string, unknown>;
  end(index: number, finish: 'stop' | 'length'): Record<string, unknown>;
}

type Token = Piece['token'];

/** A choice as far as it has come. */
export interface Made {
  text: string;
  readonly tokens: Token[];
  finish: 'stop' | 'length' | undefined;
  /** What beam search ranked it by. */
  readonly score?: number;
}

interface Request {
  readonly body: SamplingBody;
  readonly prompts: readonly (readonly number[])[];
  readonly n: number;
  /** Best of this many per prompt are given. */
  readonly keep: number;
  readonly maxNewTokens: number;
  readonly topLogProbs: number;
  readonly form: Form;
  readonly echo?: readonly Echo[];
}

/** A prompt that is given back, with its log-probabilities where they were asked for. */
interface Echo {
  readonly text: string;
  readonly ids: readonly number[];
  readonly scored: readonly ScoredToken[] | undefined;
}

export async function chatCompletions(body: ChatBody, call: Call): Promise<Response> {
  const { tokenizer, encoder } = textModel(call.model);
  const messages = body.messages.map((message) => ({ ...message, content: plainText(message.content) }));
  const [row] = toRows([{ prompt: messages }], 'messages');
  const prompt = encode(() => Array.from(encoder.prompt(row!).ids), 'messages');
  const maxNewTokens = body.max_completion_tokens ?? body.max_tokens ?? call.model.maxTokens;
  const n = body.n ?? 1;
  const wanted = body.logprobs === true;
  const ids = (tokens: readonly Token[]): Record<string, unknown> => tokenFields(tokens, body);
  const logprobs = (tokens: readonly Token[]): Record<string, unknown> => ({
    logprobs: wanted
      ? {
          content: tokens.map((token) => chatLogProb(tokenizer, { ...token, top: token.topLogProbs })),
          refusal: null,
        }
      : null,
  });
  const form: Form = {
    object: 'chat.completion',
    chunkObject: 'chat.completion.chunk',
    prefix: 'chatcmpl',
    choice: (index, { text, tokens, finish }) => ({
      index,
      message: { role: 'assistant', content: text, refusal: null },
      ...logprobs(tokens),
      finish_reason: finish,
      ...ids(tokens),
    }),
    first: (index) => ({
      index,
      delta: { role: 'assistant', content: '', refusal: null },
      logprobs: null,
      finish_reason: null,
    }),
    chunk: (index, text, tokens) => ({
      index,
      delta: { content: text },
      ...logprobs(tokens),
      finish_reason: null,
      ...ids(tokens),
    }),
    end: (index, finish) => ({ index, delta: {}, logprobs: null, finish_reason: finish }),
  };
  const topLogProbs = wanted ? (body.top_logprobs ?? 0) : 0;
  return answer({ body, prompts: [prompt], n, keep: n, maxNewTokens, topLogProbs, form }, call);
}

export async function completions(body: CompletionBody, call: Call): Promise<Response> {
  const { tokenizer, encoder } = textModel(call.model);
  const given = listOf(body.prompt);
  const prompts = given.map((prompt, index) => {
    if (typeof prompt !== 'string') return prompt;
    const [row] = toRows([{ prompt }], `prompt ${index + 1}`);
    return encode(() => Array.from(encoder.prompt(row!).ids), 'prompt');
  });
  const keep = body.n ?? 1;
  const n = body.best_of ?? keep;
  if (n < keep) throw invalid('best_of', `best_of must be at least n (${keep}).`);
  if (n > keep && body.stream === true && body.use_beam_search !== true)
    throw invalid('best_of', 'best_of cannot be streamed.');
  const wanted = body.logprobs != null;
  const topLogProbs = body.logprobs ?? 0;
  const maxNewTokens = body.max_tokens ?? 16;
  if (maxNewTokens === 0 && body.echo !== true)
    throw invalid('max_tokens', 'max_tokens may be 0 only with echo.');
  let echo: Echo[] | undefined;
  if (body.echo === true) {
    echo = [];
    for (const [index, ids] of prompts.entries()) {
      checkIds(ids, call.model);
      const text = given[index]!;
      echo.push({
        text: typeof text === 'string' ? text : tokenizer.decode(ids),
        ids,
        scored: wanted ? await call.model.scoreTokens(ids, topLogProbs) : undefined,
      });
    }
  }
  const ids = (tokens: readonly Token[], prompt?: readonly number[]): Record<string, unknown> => ({
    ...tokenFields(tokens, body),
    ...(body.return_token_ids === true && prompt !== undefined ? { prompt_token_ids: prompt } : {}),
  });
  const logprobs = (tokens: readonly Token[], offset: number, before?: Echo): Record<string, unknown> => ({
    logprobs: wanted
      ? completionLogProbs(
          tokenizer,
          [
            ...(before?.ids ?? []).map((id, i) =>
              i === 0 ? { id, logProb: undefined } : { id, ...before!.scored![i - 1]! },
            ),
            ...tokens.map((token) => ({ ...token, top: token.topLogProbs })),
          ],
          offset,
        )
      : null,
  });
  const form: Form = {
    object: 'text_completion',
    chunkObject: 'text_completion',
    prefix: 'cmpl',
    choice: (index, { text, tokens, finish }) => {
      const prompt = Math.floor(index / keep);
      return {
        index,
        text: (echo?.[prompt]?.text ?? '') + text,
        ...logprobs(tokens, 0, echo?.[prompt]),
        finish_reason: finish,
        ...ids(tokens, prompts[prompt]),
      };
    },
    ...(echo === undefined
      ? {}
      : {
          first: (index: number) => {
            const before = echo[Math.floor(index / keep)]!;
            return { index, text: before.text, ...logprobs([], 0, before), finish_reason: null };
          },
        }),
    chunk: (index, text, tokens, offset) => ({
      index,
      text,
      ...logprobs(tokens, offset + (echo?.[Math.floor(index / keep)]?.text.length ?? 0)),
      finish_reason: null,
      ...ids(tokens),
    }),
    end: (index, finish) => ({ index, text: '', logprobs: null, finish_reason: finish }),
  };
  const request = { body, prompts, n, keep, maxNewTokens, topLogProbs, form, ...(echo && { echo }) };
  return answer(request, call);
}

/** Answers whole or as a stream. */
async function answer(request: Request, call: Call): Promise<Response> {
  const { prompts } = request;
  if (request.body.use_beam_search === true) checkSearch(request.body, request.topLogProbs);
  const promptTokens = prompts.reduce((total, { length }) => total + length, 0);
  call.onTokens('prompt', promptTokens);
  const frame = {
    id: `${request.form.prefix}-${call.requestId}`,
    created: call.created,
    model: call.model.id,
    system_fingerprint: null,
  };
  return request.body.stream === true
    ? streamed(request, call, frame, promptTokens)
    : whole(request, call, frame, promptTokens);
}

type Frame = Readonly<Record<string, unknown>>;

const usageOf = (prompt: number, completion: number): Record<string, number> => ({
  prompt_tokens: prompt,
  completion_tokens: completion,
  total_tokens: prompt + completion,
});

const newMade = (count: number): Made[] =>
  Array.from({ length: count }, () => ({ text: '', tokens: [], finish: undefined }));

async function whole(request: Request, call: Call, frame: Frame, promptTokens: number): Promise<Response> {
  const { prompts, n, keep, form, maxNewTokens } = request;
  let made = newMade(prompts.length * n);
  let tokens = 0;
  const searches = request.body.use_beam_search === true && maxNewTokens > 0;
  if (searches) {
    made = await searchChoices({ ...startOptions(request, call), keep, signal: call.signal });
    tokens = made.reduce((total, one) => total + one.tokens.length, 0);
    call.onTokens('completion', tokens);
  } else if (maxNewTokens > 0) {
    const choices = startChoices({
      ...startOptions(request, call),
      onPiece: ({ choice, text, token, finish }) => {
        if (tokens++ === 0) call.onFirstToken();
        const one = made[choice]!;
        one.text += text;
        one.tokens.push(token);
        one.finish ??= finish;
      },
    });
    const onAbort = (): void => choices.cancel();
    call.signal.addEventListener('abort', onAbort);
    if (call.signal.aborted) onAbort();
    try {
      await choices.done;
    } finally {
      call.signal.removeEventListener('abort', onAbort);
      call.onTokens('completion', tokens);
    }
  } else for (const one of made) one.finish = 'length';
  const quality = ({ tokens }: Made): number => meanLogProb(tokens.map(({ logProb }) => logProb));
  const kept = searches
    ? made
    : prompts.flatMap((_, prompt) => bestOf(made.slice(prompt * n, (prompt + 1) * n), keep, quality));
  const body = {
    ...frame,
    object: form.object,
    choices: kept.map((one, index) => ({
      ...form.choice(index, one),
      ...(one.score === undefined ? {} : { beam_score: one.score }),
    })),
    usage: usageOf(promptTokens, tokens),
    ...(request.body.return_token_ids === true ? { prompt_token_ids: prompts[0] } : {}),
  };
  call.onEnd();
  return Response.json(body, { headers: call.headers });
}

function streamed(request: Request, call: Call, frame: Frame, promptTokens: number): Response {
  const { prompts, n, form, body } = request;
  const withUsage = body.stream_options?.include_usage === true;
  const shell = { ...frame, object: form.chunkObject };
  const usage = withUsage ? { usage: null } : {};
  let cancel = (): void => {};
  const { response, sink } = eventStream(call.headers, () => cancel());
  const count = prompts.length * n;
  const begun = new Set<number>();
  const ends = new Map<number, 'stop' | 'length'>();
  /** Characters sent of each choice, and tokens whose text is not certain yet. */
  const offsets = new Array<number>(count).fill(0);
  const held: Token[][] = Array.from({ length: count }, () => []);
  const send = (choice: Record<string, unknown>, extra = {}): void =>
    sink.send({ ...shell, choices: [choice], ...usage, ...extra });
  const begin = (index: number): void => {
    if (begun.has(index)) return;
    begun.add(index);
    const ids = body.return_token_ids === true ? { prompt_token_ids: prompts[Math.floor(index / n)] } : {};
    if (form.first !== undefined) send(form.first(index), ids);
  };
  let tokens = 0;
  const finish = (): void => {
    if (withUsage) sink.send({ ...shell, choices: [], usage: usageOf(promptTokens, tokens) });
    sink.end();
  };
  if (request.maxNewTokens === 0) {
    for (let index = 0; index < count; index++) {
      begin(index);
      send(form.end(index, 'length'));
    }
    finish();
    call.onEnd();
    return response;
  }
  const choices = startChoices({
    ...startOptions(request, call),
    onPiece: ({ choice, text, token, finish }) => {
      if (ends.has(choice)) return;
      if (tokens++ === 0) call.onFirstToken();
      begin(choice);
      held[choice]!.push(token);
      if (text !== '' || finish !== undefined) {
        send(form.chunk(choice, text, held[choice]!, offsets[choice]!));
        offsets[choice]! += text.length;
        held[choice] = [];
      }
      if (finish === undefined) return;
      ends.set(choice, finish);
      send(form.end(choice, finish));
    },
  });
  cancel = choices.cancel;
  const onAbort = (): void => choices.cancel();
  call.signal.addEventListener('abort', onAbort);
  if (call.signal.aborted) onAbort();
  choices.done
    .then(finish, (error: unknown) => {
      call.onError(error);
      sink.fail(errorBody(toApiError(error)));
    })
    .finally(() => {
      call.signal.removeEventListener('abort', onAbort);
      call.onTokens('completion', tokens);
      call.onEnd();
    })
    .catch(call.onError);
  return response;
}

const startOptions = (
  { prompts, body, n, maxNewTokens, topLogProbs }: Request,
  { model, requestNumber }: Call,
) => ({ model, prompts, body, n, maxNewTokens, topLogProbs, requestNumber });

/** What OpenAI's form has no place for, where it was asked for: ids with both log-probabilities, and entropies. */
const tokenFields = (tokens: readonly Token[], body: SamplingBody): Record<string, unknown> => ({
  ...(body.return_token_ids === true
    ? {
        token_ids: tokens.map(({ id }) => id),
        token_logprobs: tokens.map(({ logProb }) => logProb),
        sampling_logprobs: tokens.map(({ samplingLogProb }) => samplingLogProb),
      }
    : {}),
  ...(body.return_entropy === true ? { token_entropies: tokens.map(({ entropy }) => entropy) } : {}),
});

function textModel(model: ServedModel): ServedModel {
  if (model.kind === 'text') return model;
  throw invalid('model', `${model.id} is a reward model: it scores (/v1/score) and writes no text.`);
}

export function checkIds(ids: readonly number[], model: ServedModel): void {
  if (ids.length >= model.maxTokens + 1)
    throw invalid(
      'prompt',
      `This server's maximum context length is ${model.maxTokens} tokens, and the prompt has ${ids.length}.`,
      'context_length_exceeded',
    );
  const foreign = ids.find((id) => id >= model.vocabSize);
  if (foreign !== undefined)
    throw invalid('prompt', `Token id ${foreign} is outside the vocabulary of ${model.vocabSize}.`);
}

/** Encodes, and says which field was at fault when that fails. */
export function encode<T>(work: () => T, param: string): T {
  try {
    return work();
  } catch (error) {
    const { message } = error as Error;
    throw invalid(param, message, /tokens/.test(message) ? 'context_length_exceeded' : 'invalid_value');
  }
}

/** Content as text: parts of type `text` are joined. */
export function plainText(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content
    .map((part: { type?: unknown; text?: unknown }, index) => {
      if (part.type === 'text' && typeof part.text === 'string') return part.text;
      throw invalid(`messages.content.${index}.type`, 'Only parts of type "text" are supported.');
    })
    .join('');
}
