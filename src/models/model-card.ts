/**
 * Model cards: the README.md of a model folder, with the YAML head that the Hugging Face hub reads.
 *
 * @source huggingface/hub-docs `modelcard.md` (keys of the head)
 */
import { stringify } from 'yaml';

/** A number of a run or an evaluation. */
export interface CardFigure {
  readonly name: string;
  readonly value: number;
  /** What it says, with its unit. */
  readonly meaning?: string | undefined;
}

export interface ModelCard {
  readonly title: string;
  /** What the model is and where it comes from, in a sentence or two of Markdown. */
  readonly summary: string;
  readonly pipeline: 'text-generation' | 'text-classification';
  /** The library that loads it: transformers when left out, PEFT for an adapter. */
  readonly library?: 'transformers' | 'peft';
  /** Hub id of the model that it was made from. Paths of a machine are named in the text, not in the head. */
  readonly baseModel?: string | undefined;
  readonly license?: string | undefined;
  readonly languages?: readonly string[] | undefined;
  /** Hub ids. */
  readonly datasets?: readonly string[] | undefined;
  readonly tags?: readonly string[] | undefined;
  /** The run's figures, in order. */
  readonly figures?: readonly CardFigure[] | undefined;
  /** The resolved configuration, as YAML. */
  readonly configText?: string | undefined;
}

/** A source as the head of a card may name it: a hub id without its revision; undefined for a path of this machine. */
export function publicId(source: string): string | undefined {
  const [, id] = /^([A-Za-z0-9][\w.-]*\/[\w.-]+?)(?:@.*|\/[^/]+\.gguf)?$/.exec(source) ?? [];
  return id;
}

/**
 * The text of README.md. Figures stand in a table and, rounded to six digits, in the head's `model-index`, where the hub
 * finds them.
 *
 * @example modelCard({ title: 'tiny', summary: 'A toy.', pipeline: 'text-generation', figures: [{ name: 'loss', value: 1.5 }] });
 */
export function modelCard(card: ModelCard): string {
  const { title, summary, figures = [], configText } = card;
  const measured = figures.filter(({ value }) => Number.isFinite(value));
  const head = {
    ...given('license', card.license),
    ...given('language', card.languages),
    library_name: card.library ?? 'transformers',
    pipeline_tag: card.pipeline,
    tags: ['heed', ...(card.tags ?? [])],
    ...given('base_model', card.baseModel),
    ...given('datasets', card.datasets),
    ...(measured.length === 0 ? {} : { 'model-index': [modelIndex(card, measured)] }),
  };
  return [
    `---\n${stringify(head)}---\n`,
    `# ${oneLine(title)}\n`,
    `${summary}\n`,
    ...(measured.length === 0 ? [] : ['## Figures\n', figureTable(measured)]),
    ...(configText === undefined
      ? []
      : ['## Configuration\n', `${fence(configText)}yaml\n${configText.trimEnd()}\n${fence(configText)}\n`]),
    'Made with heed.\n',
  ].join('\n');
}

function modelIndex(card: ModelCard, figures: readonly CardFigure[]): object {
  const name = oneLine(card.title);
  return {
    name,
    results: [
      {
        task: { type: card.pipeline },
        dataset: { name: card.datasets?.[0] ?? "the run's own data", type: card.datasets?.[0] ?? 'other' },
        metrics: figures.map((figure) => ({
          type: figure.name,
          name: figure.name,
          value: Number(figure.value.toPrecision(6)),
        })),
      },
    ],
  };
}

function figureTable(figures: readonly CardFigure[]): string {
  const rows = figures.map(
    ({ name, value, meaning = '' }) =>
      `| ${cell(name)} | ${Number(value.toPrecision(6))} | ${cell(meaning)} |`,
  );
  return `| figure | value | meaning |\n|---|---:|---|\n${rows.join('\n')}\n`;
}

const given = <T>(key: string, value: T | undefined): Record<string, T> =>
  value === undefined || (Array.isArray(value) && value.length === 0) ? {} : { [key]: value };

const oneLine = (text: string): string => text.replace(/\s+/g, ' ').trim();
const cell = (text: string): string => oneLine(text).replaceAll('|', '\\|');

/** A fence longer than any in the text. */
function fence(text: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([run]) => run.length));
  return '`'.repeat(longest + 1);
}
