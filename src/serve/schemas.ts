/** Bodies of requests: OpenAI's fields, with vLLM's names for what OpenAI lacks. Fields that change nothing here are ignored. */
import { z } from 'zod';
import { invalid } from './errors.ts';

const tokenIds = z.array(z.int().min(0)).min(1);
const stop = z.union([z.string().min(1), z.array(z.string().min(1)).max(16)]).nullish();

/** Fields that would change the meaning of a request, and are not there. */
const unsupported = [
  'tools',
  'functions',
  'suffix',
  'audio',
  'modalities',
  'guided_grammar',
  'structural_tag',
];

const choice = z.array(z.string().min(1)).min(1).max(1000);
const schemaOrText = z.union([z.string(), z.record(z.string(), z.unknown())]);

const sampling = {
  model: z.string(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().optional() }).nullish(),
  n: z.int().min(1).max(128).nullish(),
  seed: z.int().nullish(),
  stop,
  temperature: z.number().min(0).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  logit_bias: z
    .record(z.string().regex(/^\d+$/, 'expected a token id'), z.number().min(-100).max(100))
    .nullish(),
  // As in vLLM:
  top_k: z.int().min(-1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  typical_p: z.number().gt(0).max(1).nullish(),
  repetition_penalty: z.number().positive().nullish(),
  min_tokens: z.int().min(0).nullish(),
  stop_token_ids: z.array(z.int().min(0)).nullish(),
  ignore_eos: z.boolean().nullish(),
  include_stop_str_in_output: z.boolean().nullish(),
  skip_special_tokens: z.boolean().nullish(),
  return_token_ids: z.boolean().nullish(),
  use_beam_search: z.boolean().nullish(),
  length_penalty: z.number().nullish(),
  early_stopping: z.union([z.boolean(), z.literal('never')]).nullish(),
  // Of this server alone:
  return_entropy: z.boolean().nullish(),
  guided_choice: choice.nullish(),
  guided_regex: z.string().nullish(),
  guided_json: schemaOrText.nullish(),
  structured_outputs: z
    .strictObject({
      ...{ choice: choice.nullish(), regex: z.string().nullish(), json: schemaOrText.nullish() },
      json_object: z.boolean().nullish(),
    })
    .nullish(),
  response_format: z
    .discriminatedUnion('type', [
      z.looseObject({ type: z.literal('text') }),
      z.looseObject({ type: z.literal('json_object') }),
      z.looseObject({
        type: z.literal('json_schema'),
        json_schema: z.looseObject({ schema: z.record(z.string(), z.unknown()) }),
      }),
    ])
    .nullish(),
};
const samplingSchema = z.looseObject(sampling);
export type SamplingBody = z.output<typeof samplingSchema>;

const part = z.looseObject({ type: z.string() });
const message = z.looseObject({
  role: z.string().min(1),
  content: z.union([z.string(), z.array(part)]).nullish(),
});

export const chatSchema = z.looseObject({
  ...sampling,
  messages: z.array(message).min(1),
  max_tokens: z.int().min(1).nullish(),
  max_completion_tokens: z.int().min(1).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
});
export type ChatBody = z.output<typeof chatSchema>;

export const completionSchema = z.looseObject({
  ...sampling,
  prompt: z.union([
    z.string(),
    tokenIds,
    z.array(z.string()).min(1).max(2048),
    z.array(tokenIds).min(1).max(2048),
  ]),
  max_tokens: z.int().min(0).nullish(),
  logprobs: z.int().min(0).max(20).nullish(),
  echo: z.boolean().nullish(),
  best_of: z.int().min(1).max(128).nullish(),
});
export type CompletionBody = z.output<typeof completionSchema>;

export const embeddingSchema = z.looseObject({
  model: z.string(),
  input: z.union([
    z.string(),
    tokenIds,
    z.array(z.string()).min(1).max(2048),
    z.array(tokenIds).min(1).max(2048),
  ]),
  encoding_format: z.enum(['float', 'base64']).nullish(),
  dimensions: z.int().positive().nullish(),
});

const pair = z.strictObject({ prompt: z.string(), completion: z.string() });
const conversation = z.strictObject({ messages: z.array(message).min(2) });
const tokens = z.strictObject({ prompt_token_ids: tokenIds, completion_token_ids: tokenIds });
export const scoreSchema = z.looseObject({
  model: z.string(),
  input: z
    .array(z.union([pair, conversation, tokens]))
    .min(1)
    .max(2048),
});

/**
 * A body of the schema's type.
 *
 * @throws ApiError 400 naming the first field that is wrong
 */
export function parseBody<S extends z.ZodType>(schema: S, body: unknown): z.output<S> {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw invalid(null, 'The body must be a JSON object.');
  for (const name of unsupported) {
    const value = (body as Record<string, unknown>)[name];
    if (value === undefined || value === null || (Array.isArray(value) && value.length === 0)) continue;
    throw invalid(name, `${name} is not supported by this server.`, 'unsupported_parameter');
  }
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  const param = issue.path.join('.') || null;
  const missing = issue.path.reduce<unknown>((x, key) => (x as never)?.[key], body) === undefined;
  const text = missing && issue.path.length === 1 ? 'This field is required' : issue.message;
  throw invalid(
    param,
    `${param ?? 'body'}: ${text}.`,
    missing ? 'missing_required_parameter' : 'invalid_value',
  );
}

const idLists = (value: unknown): value is number[][] => Array.isArray(value) && Array.isArray(value[0]);
const idList = (value: unknown): value is number[] => Array.isArray(value) && typeof value[0] === 'number';

/** One prompt, or several, each a text or token ids. */
export function listOf(
  given: string | readonly number[] | readonly string[] | readonly (readonly number[])[],
): readonly (string | readonly number[])[] {
  if (typeof given === 'string') return [given];
  if (idLists(given)) return given;
  if (idList(given)) return [given];
  return given as readonly string[];
}
