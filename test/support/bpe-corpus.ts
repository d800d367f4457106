/** A small text of our own for tokenizer tests: the same bytes on every machine. */
const subjects = [
  'The gardener',
  'A lab assistant',
  'My neighbor',
  'Nobody',
  'The old clock-maker',
  "Zoë's brother",
];
const verbs = ['waters', 'measures', 'repairs', "doesn't trust", 'paints', 'counts', 're-measures'];
const objects = [
  'the roses',
  '12 beakers',
  'a copper kettle',
  'three clocks',
  '1024 seeds',
  'the naïve plan',
];
const endings = ['.', '!', ' before noon.', ', then rests.', '?\n', ' (twice).\n\n', ' ... and 東京 waits。'];

/** 1 764 sentences: every combination once. */
export const bpeCorpus: readonly string[] = subjects.flatMap((subject) =>
  verbs.flatMap((verb) =>
    objects.flatMap((object) => endings.map((ending) => `${subject} ${verb} ${object}${ending}`)),
  ),
);

/** Texts that tokenizers like to disagree on. */
export const hardTexts: readonly string[] = [
  '',
  ' ',
  '   leading and trailing   ',
  'The gardener waters the roses.',
  "doesn't DOESN'T we'll they've I'm it's",
  'Emoji: 🙂👩‍👩‍👧‍👦🏳️‍🌈 and a lone ❤',
  '東京に行きました。你好，世界！ 안녕하세요',
  'العربية مع أرقام ١٢٣ و 456',
  // biome-ignore lint/suspicious/noTemplateCurlyInString: code as text is the point
  'for (let i = 0; i < 10; i++) {\n\tconsole.log(`${i}`);\n}\n',
  'def f(x):\n    return x ** 2  # comment\r\n',
  'tabs\t\tand\u00a0no-break\u2003em space\u200bzero width',
  'line\u2028separator next\u0085line \ufeffmark',
  'e\u0301 is not é, ﬁ is a ligature, ½ + ² = Ⅷ',
  '3.14159 1,000,000 007 0x1F 2^10',
  'control \u0000\u0001\u001f\u007f characters',
  '<s>special</s> tokens<|user|> in <|user|><|end|> the text',
  '\n\n\n  \n x',
  'a'.repeat(50),
  '𝔘𝔫𝔦𝔠𝔬𝔡𝔢 beyond 𐍈 the plane',
];
