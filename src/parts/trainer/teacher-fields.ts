/** A frozen teacher: the fields that name it, and its loading. */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { ConfigError } from '../../core/errors.ts';
import { type LoadedModel, loadModel } from '../../models/checkpoint.ts';
import { isScoreModel } from '../../models/score-model.ts';
import { loadTokenizer, type Tokenizer } from '../../tokenizer/index.ts';
import { quantizations, quantizeOption } from './lora-fields.ts';

export const teacherFields = section('Teacher', {
  teacherModel: field(z.string(), { aliases: ['teacherModelNameOrPath'], placeholder: 'folder' }).describe(
    'frozen model to learn from, of any architecture, with the vocabulary of the student',
  ),
  quantizeTeacher: field(z.enum(quantizations).default('none')).describe(
    'keep the linear layers of the teacher in 8 or 4 bits: a quarter or a seventh of their memory, for some accuracy and time',
  ),
});

export interface TeacherChoice {
  readonly teacherModel: string;
  readonly quantizeTeacher: (typeof quantizations)[number];
}

/**
 * Loads the teacher and checks that it reads and writes the tokens of the student.
 *
 * @throws ConfigError when it is no language model, has another vocabulary, or a context shorter than `maxLength`
 */
export async function loadTeacher(
  { teacherModel, quantizeTeacher, maxLength }: TeacherChoice & { readonly maxLength: number },
  student: Pick<LoadedModel, 'model'>,
  tokenizer: Tokenizer,
  note: (message: string) => void,
): Promise<LoadedModel> {
  const teacher = await loadModel(teacherModel, quantizeOption(quantizeTeacher));
  const refuse = (expected: string, received: string, fix: string): ConfigError =>
    new ConfigError({ where: '--teacher-model', expected, received: `"${teacherModel}", ${received}`, fix });
  if (isScoreModel(teacher.model)) {
    throw refuse(
      'a language model',
      'which has a score head',
      'Name the model that writes, not one that scores',
    );
  }
  if (teacher.model.vocabSize !== student.model.vocabSize) {
    throw refuse(
      `the student's vocabulary of ${student.model.vocabSize} tokens`,
      `with ${teacher.model.vocabSize}`,
      'Use a teacher of the same family, or fine-tune on texts that this one wrote (heed generate, heed sft)',
    );
  }
  if (teacher.model.maxPositions < maxLength) {
    throw refuse(
      `a context of at least maxLength (${maxLength})`,
      `with ${teacher.model.maxPositions}`,
      `Set --max-length ${teacher.model.maxPositions}`,
    );
  }
  const other = await loadTokenizer(teacherModel).catch(({ message }: Error) => {
    note(`the teacher’s tokens cannot be compared with the student’s, for want of its tokenizer: ${message}`);
    return undefined;
  });
  const id = other && firstDifference(tokenizer, other);
  if (id !== undefined) {
    const [own, its] = [tokenizer, other!].map((each) => JSON.stringify(textOf(each, id)));
    throw refuse(
      `the student's tokens, where ${id} is ${own}`,
      `where it is ${its}`,
      'Use a teacher with the same tokenizer: its predictions are compared with the student’s token by token',
    );
  }
  return teacher;
}

const textOf = (tokenizer: Tokenizer, id: number): string | undefined =>
  id < tokenizer.vocabSize ? tokenizer.tokenText(id) : undefined;

/** The first id that stands for another text. */
function firstDifference(one: Tokenizer, other: Tokenizer): number | undefined {
  const count = Math.min(one.vocabSize, other.vocabSize);
  for (let id = 0; id < count; id++) if (textOf(one, id) !== textOf(other, id)) return id;
  return undefined;
}
