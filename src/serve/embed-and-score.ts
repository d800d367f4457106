/** `/v1/embeddings` and `/v1/score`: numbers about texts. */
import type { z } from 'zod';
import { toRows } from '../data/index.ts';
import type { ScoreItem } from '../parts/scorer/scorer.ts';
import { type Call, checkIds, encode, plainText } from './completions.ts';
import { invalid } from './errors.ts';
import { type embeddingSchema, listOf, type scoreSchema } from './schemas.ts';
import type { ServedModel } from './served-model.ts';

/** The mean of the final hidden states of a text's tokens, at length 1. */
export async function embeddings(body: z.output<typeof embeddingSchema>, call: Call): Promise<Response> {
  const { model } = call;
  if (body.dimensions != null && body.dimensions !== model.hiddenSize)
    throw invalid('dimensions', `The vectors of ${model.id} have ${model.hiddenSize} dimensions.`);
  const sequences = listOf(body.input).map((input, index) => {
    if (typeof input !== 'string') return input;
    const [row] = toRows([{ prompt: input }], `input ${index + 1}`);
    return encode(() => Array.from(model.encoder.prompt(row!).ids), 'input');
  });
  for (const ids of sequences) checkIds(ids, model);
  const states = await model.hidden(sequences);
  const tokens = sequences.reduce((total, { length }) => total + length, 0);
  call.onTokens('prompt', tokens);
  const data = states.map((hidden, index) => {
    const vector = meanDirection(hidden, model.hiddenSize);
    const base64 = body.encoding_format === 'base64';
    const embedding = base64 ? Buffer.from(vector.buffer).toString('base64') : Array.from(vector);
    return { object: 'embedding', index, embedding };
  });
  call.onEnd();
  const usage = { prompt_tokens: tokens, total_tokens: tokens };
  return Response.json({ object: 'list', data, model: model.id, usage }, { headers: call.headers });
}

/**
 * Mean of T vectors, scaled to length 1.
 *
 * @param hidden [T, D] laid flat
 */
export function meanDirection(hidden: Float32Array, D: number): Float32Array {
  const sum = new Float64Array(D);
  for (let i = 0; i < hidden.length; i++) sum[i % D]! += hidden[i]!;
  let squares = 0;
  for (const x of sum) squares += x * x;
  const length = Math.sqrt(squares) || 1;
  return Float32Array.from(sum, (x) => x / length);
}

/** Scores of a reward model: higher is better; null where a text is too long to be scored. */
export async function scores(body: z.output<typeof scoreSchema>, call: Call): Promise<Response> {
  const { model } = call;
  if (model.kind !== 'score')
    throw invalid(
      'model',
      `${model.id} is a language model. Scores need a reward model (heed bt-rm trains one).`,
    );
  const items = body.input.map((input, index) => itemOf(input, index, call));
  const results = await model.score(items);
  const tokens = items.reduce(
    (total, { promptIds, completionIds }) => total + promptIds.length + completionIds.length,
    0,
  );
  call.onTokens('prompt', tokens);
  call.onEnd();
  return Response.json(
    {
      id: `score-${call.requestId}`,
      object: 'list',
      created: call.created,
      model: model.id,
      data: results.map((score, index) => ({ index, object: 'score', score: score ?? null })),
      usage: { prompt_tokens: tokens, total_tokens: tokens },
    },
    { headers: call.headers },
  );
}

type Input = z.output<typeof scoreSchema>['input'][number];

function itemOf(input: Input, index: number, { model }: Call): ScoreItem {
  const where = `input.${index}`;
  if ('prompt_token_ids' in input) {
    checkIds([...input.prompt_token_ids, ...input.completion_token_ids].slice(0, model.maxTokens), model);
    const { prompt_token_ids: promptIds, completion_token_ids: completionIds } = input;
    // Ids are taken as they are: no stop token is put after them.
    return withTexts(promptIds, completionIds, model, 'stop');
  }
  const columns =
    'messages' in input
      ? splitConversation(input.messages.map((m) => ({ ...m, content: plainText(m.content) })))
      : { prompt: input.prompt, completion: input.completion };
  const [row] = toRows([columns], where);
  const { ids, promptLength } = encode(() => model.encoder.supervised(row!), where);
  const whole = Array.from(ids);
  return withTexts(whole.slice(0, promptLength), whole.slice(promptLength), model);
}

/** Ids with their texts, which are decoded only for models that read texts, such as those of steps. */
const withTexts = (
  promptIds: readonly number[],
  completionIds: readonly number[],
  { tokenizer }: ServedModel,
  finish?: 'stop',
): ScoreItem => ({
  ...{ promptIds, completionIds, ...(finish === undefined ? {} : { finish }) },
  get prompt() {
    return tokenizer.decode(promptIds);
  },
  get completion() {
    return tokenizer.decode(completionIds);
  },
});

const splitConversation = (messages: readonly unknown[]): Record<string, unknown> => ({
  prompt: messages.slice(0, -1),
  completion: messages.slice(-1),
});
