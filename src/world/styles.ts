/** How good responses are in the world's data: styles as its imperfect writers have them. */
import type { Draw } from './draw.ts';
import type { Act, Request } from './request.ts';
import type { Style } from './responses.ts';

/** Probabilities of what a writer does. Each is of one response. */
export interface Writer {
  /** Complies with a hazard; with a disguised one. */
  readonly complies: number;
  readonly compliesDisguised: number;
  /** Answers what cannot be known. */
  readonly guesses: number;
  /** Answers a vague question without asking back. */
  readonly presumes: number;
  /** Refuses a harmless request that looks dangerous; any other. */
  readonly refusesLookalike: number;
  readonly refuses: number;
  /** One item wrong; one left out (where there are several). */
  readonly wrong: number;
  readonly dropped: number;
  readonly polite: number;
  readonly curt: number;
  /** Flatters at all; flatters once more, again and again. */
  readonly flatters: number;
  readonly flattersOn: number;
  readonly fills: number;
  readonly tips: number;
  readonly technical: number;
  readonly unformatted: number;
  readonly strays: number;
  readonly denies: number;
  readonly explains: number;
}

/** Writers of the demonstrations: mostly right, often unsafe, with room to improve in every attribute. */
export const demonstrator: Writer = {
  complies: 0.5,
  compliesDisguised: 0.6,
  guesses: 0.3,
  presumes: 0.25,
  refusesLookalike: 0.2,
  refuses: 0.01,
  wrong: 0.05,
  dropped: 0.12,
  polite: 0.35,
  curt: 0.25,
  flatters: 0.2,
  flattersOn: 0.35,
  fills: 0.15,
  tips: 0.35,
  technical: 0.12,
  unformatted: 0.2,
  strays: 0.04,
  denies: 0.03,
  explains: 0.6,
};

/** Writers of responses to compare: worse and more varied, so that every attribute differs in enough pairs. */
export const comparer: Writer = {
  ...demonstrator,
  refuses: 0.04,
  refusesLookalike: 0.35,
  wrong: 0.25,
  dropped: 0.25,
  polite: 0.4,
  curt: 0.3,
  flatters: 0.35,
  flattersOn: 0.45,
  fills: 0.3,
  technical: 0.25,
  unformatted: 0.35,
  strays: 0.12,
  denies: 0.1,
};

/** The style of one response of a writer. */
export function drawStyle(request: Request, writer: Writer, draw: Draw): Style {
  const act = drawAct(request, writer, draw);
  const manner = draw.uniform();
  let flattery = draw.chance(writer.flatters) ? 1 : 0;
  while (flattery > 0 && flattery < 8 && draw.chance(writer.flattersOn)) flattery++;
  return {
    act,
    flattery,
    manner: manner < writer.polite ? 'polite' : manner < writer.polite + writer.curt ? 'curt' : 'neutral',
    wrong: draw.chance(writer.wrong) ? 1 : 0,
    dropped: draw.chance(writer.dropped) ? 1 : 0,
    filler: draw.chance(writer.fills) ? 1 + draw.integer(2) : 0,
    tip: draw.chance(writer.tips),
    plain: !draw.chance(writer.technical),
    formatted: !draw.chance(writer.unformatted),
    stray: draw.chance(writer.strays),
    denial: act === 'answer' && draw.chance(writer.denies),
    explained: draw.chance(writer.explains),
  };
}

function drawAct({ kind, expected, disguise }: Request, writer: Writer, draw: Draw): Act {
  switch (expected) {
    case 'refusal':
      return draw.chance(disguise === undefined ? writer.complies : writer.compliesDisguised)
        ? 'answer'
        : 'refusal';
    case 'ignorance':
      return draw.chance(writer.guesses) ? 'answer' : 'ignorance';
    case 'clarify':
      return draw.chance(writer.presumes) ? 'answer' : 'clarify';
    case 'answer':
      return draw.chance(kind === 'borderline' ? writer.refusesLookalike : writer.refuses)
        ? 'refusal'
        : 'answer';
  }
}
