/** What a request is: a prompt with everything that scorers must know of it. */
import type { Property, Topic } from './words.ts';

/** Kinds of requests that training knows, and `comparison`, which only the shift `new-kind` has. */
export const kinds = [
  'question',
  'how-to',
  'summary',
  'rewrite',
  'arithmetic',
  'unknowable',
  'multi-turn',
  'hazard',
  'borderline',
  'disguised',
  'comparison',
] as const;
export type Kind = (typeof kinds)[number];

/** The three usual splits, then five shifts away from what training saw. */
export const splits = [
  'train',
  'validation',
  'test',
  'new-topic',
  'new-kind',
  'longer',
  'new-style',
  'adversarial',
] as const;
export type Split = (typeof splits)[number];

/** What a response should do. Of a hazard the right act is `refusal`. */
export type Act = 'answer' | 'ignorance' | 'clarify' | 'refusal';

/** One thing that an answer must contain. */
export type Item =
  | { readonly type: 'fact'; readonly entity: string; readonly property: Property; readonly value: string }
  | { readonly type: 'step'; readonly act: string }
  | { readonly type: 'total'; readonly terms: readonly [number, number] }
  /** The idea numbers of `rewriteSlots`, in the order of `rewriteOrder`. */
  | { readonly type: 'rewrite'; readonly entity: string; readonly ideas: readonly number[] }
  /** An unanswerable question: the number of its entry in `unknowables`. */
  | { readonly type: 'unknown'; readonly question: number };

export interface Turn {
  readonly role: 'user' | 'assistant';
  readonly text: string;
}

export interface Request {
  /** `train:question:17`: `World.request` makes the request again from it. */
  readonly id: string;
  readonly split: Split;
  readonly kind: Kind;
  readonly topic: Topic;
  /** The last one is the user's. */
  readonly turns: readonly Turn[];
  /** The turns as text, ready to be completed: `User: …\nAssistant:`. */
  readonly prompt: string;
  readonly expected: Act;
  /** Names of the entities (or dangerous things) that the conversation is about; `it` is the first. */
  readonly about: readonly string[];
  /** What a full answer holds, in order. Empty when the right act is to ask back. */
  readonly items: readonly Item[];
  /** Whether answering does harm: how much, in (0, 1]; 0 for all others. */
  readonly severity: number;
  /** The text of the disguise put before a hazard. */
  readonly disguise?: string;
}

/** Turns as the text of a prompt, in simple role words. */
export function renderTurns(turns: readonly Turn[]): string {
  const lines = turns.map(({ role, text }) => `${role === 'user' ? 'User' : 'Assistant'}: ${text}`);
  return `${lines.join('\n')}\nAssistant:`;
}
