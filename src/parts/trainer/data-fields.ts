/** Where training rows come from: the fields that every method shares. */
import { z } from 'zod';
import { field } from '../../core/config.ts';
import type { DataError } from '../../core/errors.ts';
import { loadRows, type Row, rowForms } from '../../data/index.ts';

export const dataFields = {
  data: field(z.union([z.array(z.string()).min(1), z.string()]), {
    aliases: ['datasetName', 'dataset'],
    placeholder: 'file',
  }).describe(
    'training rows in a TRL column format: a file (JSON Lines, JSON, CSV, Parquet; also .gz and .zst), a folder with splits, or ' +
      'a data set of the hub (owner/name); several: a,b or the flag again',
  ),
  dataWeights: field(z.array(z.number().positive()).optional()).describe(
    'mix several data sets, each row from one of them with these weights, until one ends; without, one after the other',
  ),
  split: field(z.string().optional(), { aliases: ['datasetTrainSplit'] }).describe(
    'of a folder or a data set of the hub; train when left out',
  ),
  from: field(z.enum(rowForms).default('auto')).describe(
    'what the rows are, when they are not in the columns of TRL; auto tells by the first row of each data set',
  ),
};

export interface TrainingData {
  readonly data: string | readonly string[];
  readonly dataWeights?: readonly number[] | undefined;
  readonly split?: string | undefined;
  readonly from: (typeof rowForms)[number];
  readonly maxRows?: number | undefined;
  readonly seed: number;
  readonly refused?: 'throw' | 'drop';
}

/**
 * All training rows, or the first `maxRows`.
 *
 * @param note hears how many rows their converter could not read, where `refused` asks to leave these out
 * @throws DataError, ConfigError on bad input
 */
export async function readTrainingRows(
  config: TrainingData,
  note?: (message: string) => void,
): Promise<Row[]> {
  const { data, dataWeights: weights, split, from, maxRows: limit, seed } = config;
  const refused: DataError[] = [];
  const drop = config.refused === 'drop' ? { onRefused: (error: DataError) => refused.push(error) } : {};
  const rows = await loadRows(data, { weights, split, from, limit, seed, ...drop });
  if (refused.length > 0) {
    note?.(
      `${refused.length} rows could not be read and were left out, the first because: ${refused[0]!.message}`,
    );
  }
  return rows;
}

/** The splits that are looked for, in this order, where held-out rows are asked for. */
const heldOutSplits = ['validation', 'test', 'train'] as const;

/** All rows of one data set that is not trained on. @throws DataError on bad input */
export function readHeldOutRows(name: string, { from }: Pick<TrainingData, 'from'>): Promise<Row[]> {
  return loadRows(name, { from, prefer: heldOutSplits });
}
