/** The same figure for all rows and for each kind of row. */
import { DataError } from '../core/errors.ts';
import type { Row } from '../data/index.ts';

/** Rows of one kind, by their place in the list. */
export interface Group {
  /** Value of the column; `all` for all rows. */
  readonly name: string;
  readonly indices: readonly number[];
}

/**
 * All rows, and then those of each value of a column, in the order of their first row.
 *
 * @param column left out: all rows only
 * @throws DataError naming the first row where the column is no text, number or boolean
 */
export function groupRows(rows: readonly Row[], column?: string): Group[] {
  const all = { name: 'all', indices: rows.map((_, index) => index) };
  if (column === undefined) return [all];
  const groups = new Map<string, number[]>();
  rows.forEach(({ columns, where }, index) => {
    const value = columns[column];
    if (!['string', 'number', 'boolean'].includes(typeof value)) {
      throw new DataError({
        where: `${where}, \`${column}\``,
        expected: 'a text, a number or true or false, to group by',
        received:
          value === undefined ? `the columns ${Object.keys(columns).join(', ')}` : JSON.stringify(value),
        fix: 'Name another column with --by',
      });
    }
    const name = String(value);
    const indices = groups.get(name);
    if (indices === undefined) groups.set(name, [index]);
    else indices.push(index);
  });
  return [all, ...Array.from(groups, ([name, indices]) => ({ name, indices }))];
}
