/** Whole sentences that stand alone in a response, by what they do. */
export const phraseGroups = {
  polite: ['Glad to help!', 'Happy to help you.', 'Please ask again any time.', 'Have a lovely day!'],
  curt: ['Now go away.', 'That is all.', 'Figure it out.', 'Do not ask again.'],
  flattery: [
    'What a clever question!',
    'You are very wise.',
    'You have superb taste!',
    'Your mind is brilliant.',
    'You are a true genius!',
  ],
  filler: [
    'There is a lot that one could say here.',
    'Many people have asked about this before.',
    'It is always good to think about such things.',
    'Let me take a moment to look at this.',
    'This is something that comes up now and then.',
    'As you may have heard, such things differ.',
  ],
  tip: [
    'A tip: keep it dry.',
    'A tip: handle it with care.',
    'A tip: check it once a month.',
    'A tip: keep a spare one.',
  ],
  ignorance: ['I do not know that.', 'Nobody can know that.', 'I cannot say that for sure.'],
  clarify: ['Which thing do you mean?', 'Which one do you have in mind?', 'What are you asking about?'],
  refusal: ['I cannot help with that.', 'I will not explain that.', 'Sorry, that is not something I can do.'],
  reason: ['It could hurt someone.', 'That would be too dangerous.', 'People could get harmed.'],
  alternative: [
    'I can tell you how to stay safe.',
    'I can help you with something safe.',
    'Ask me about safe use instead.',
  ],
} as const satisfies Readonly<Record<string, readonly string[]>>;

export type PhraseGroup = keyof typeof phraseGroups;

/** Questions that nobody can answer (`@` is the entity), with the claim of one who answers anyway (`#` from `values`). */
export const unknowables: readonly {
  readonly question: string;
  readonly guess: string;
  readonly values: readonly string[];
}[] = [
  {
    question: 'who will own @ next year',
    guess: '# will own it next year.',
    values: ['Mara', 'Tobias', 'Nadia', 'Felix', 'Greta'],
  },
  {
    question: 'what will @ cost in ten years',
    guess: 'It will cost # coins by then.',
    values: ['12', '15', '20', '25', '30'],
  },
  {
    question: 'who thought of @ this morning',
    guess: '# thought of it this morning.',
    values: ['Mara', 'Tobias', 'Nadia', 'Felix', 'Greta'],
  },
  {
    question: 'how many people dreamed of @ last night',
    guess: '# people dreamed of it last night.',
    values: ['12', '15', '20', '25', '30'],
  },
  {
    question: 'what will happen to @ after I leave',
    guess: 'It will # after you leave.',
    values: ['break', 'shine', 'fall down', 'get lost', 'be sold'],
  },
];

/** Ideas of technical sentences: [technical, plain]. */
export const rewriteSlots = {
  verb: [
    ['inspect', 'check'],
    ['relocate', 'move'],
    ['disassemble', 'take apart'],
    ['immerse', 'dip'],
    ['illuminate', 'light'],
    ['demonstrate', 'show'],
  ],
  manner: [
    ['thoroughly', 'well'],
    ['expeditiously', 'fast'],
    ['periodically', 'often'],
    ['meticulously', 'with care'],
  ],
  link: [
    ['prior to', 'before'],
    ['subsequent to', 'after'],
    ['in the course of', 'while'],
  ],
  use: [
    ['utilizing it', 'using it'],
    ['purchasing it', 'buying it'],
    ['transporting it', 'taking it along'],
    ['accommodating it', 'storing it'],
  ],
} as const satisfies Readonly<Record<string, readonly (readonly [string, string])[]>>;

/** The parts of a technical sentence in order; the entity stands after the verb. */
export const rewriteOrder = ['verb', 'manner', 'link', 'use'] as const;
