/** Log-probabilities in the two forms of OpenAI's API. */
import type { TokenLogProb } from '../generate/index.ts';
import { shownBytes, type Tokenizer } from '../tokenizer/index.ts';

interface Scored {
  readonly id: number;
  readonly logProb: number;
  readonly top?: readonly TokenLogProb[] | undefined;
}

/** JSON has no −Infinity; OpenAI writes this for what cannot be. */
const finite = (logProb: number): number => Math.max(logProb, -9999);

/** An entry of `logprobs.content` of a chat completion, with the token's id. */
export function chatLogProb(
  tokenizer: Tokenizer,
  { id, logProb, top = [] }: Scored,
): Record<string, unknown> {
  const entry = (token: number, value: number): Record<string, unknown> => {
    const bytes = [...shownBytes(tokenizer, token)];
    return { token: tokenizer.tokenText(token), logprob: finite(value), bytes, token_id: token };
  };
  return { ...entry(id, logProb), top_logprobs: top.map((other) => entry(other.id, other.logProb)) };
}

export interface CompletionLogProbs {
  tokens: string[];
  token_logprobs: (number | null)[];
  top_logprobs: (Record<string, number> | null)[];
  text_offset: number[];
}

/** `logprobs` of a completion. The first token of an echoed prompt has none: nothing precedes it. */
export function completionLogProbs(
  tokenizer: Tokenizer,
  scored: readonly (Scored | { readonly id: number; readonly logProb: undefined })[],
  offset = 0,
): CompletionLogProbs {
  const result: CompletionLogProbs = { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] };
  let at = offset;
  for (const item of scored) {
    const text = tokenizer.tokenText(item.id);
    result.tokens.push(text);
    result.text_offset.push(at);
    at += tokenizer.decode([item.id]).length;
    if (item.logProb === undefined) {
      result.token_logprobs.push(null);
      result.top_logprobs.push(null);
      continue;
    }
    result.token_logprobs.push(finite(item.logProb));
    const top = item.top ?? [];
    const entries = top.map(({ id, logProb }) => [tokenizer.tokenText(id), finite(logProb)] as const);
    // The chosen token is always listed, as OpenAI does, so that its rank can be read.
    result.top_logprobs.push(
      top.length === 0 ? null : Object.fromEntries([...entries, [text, finite(item.logProb)]]),
    );
  }
  return result;
}
