/** Errors as OpenAI's clients read them: `{ error: { message, type, param, code } }` with a status. */
import { ConfigError, DataError } from '../core/errors.ts';

export interface ApiErrorFields {
  readonly status: 400 | 401 | 404 | 405 | 413 | 415 | 429 | 500 | 503;
  readonly type:
    | 'invalid_request_error'
    | 'authentication_error'
    | 'rate_limit_error'
    | 'server_error'
    | 'service_unavailable_error';
  readonly message: string;
  /** The field of the body that is wrong. */
  readonly param?: string | null;
  readonly code?: string | null;
  /** Seconds after which to try again. */
  readonly retryAfter?: number;
}

export class ApiError extends Error {
  readonly fields: ApiErrorFields;
  constructor(fields: ApiErrorFields) {
    super(fields.message);
    this.name = 'ApiError';
    this.fields = fields;
  }
}

/** A 400 that names the field. */
export function invalid(param: string | null, message: string, code: string | null = null): ApiError {
  return new ApiError({ status: 400, type: 'invalid_request_error', message, param, code });
}

/** What any thrown value is to a client. What is not the client's fault says nothing of the inside. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof DataError || error instanceof ConfigError) return invalid(null, error.message);
  return new ApiError({
    status: 500,
    type: 'server_error',
    message: 'The server failed to answer; its log says why.',
    code: 'internal_error',
  });
}

export function errorBody({ fields }: ApiError): { error: Record<string, unknown> } {
  const { message, type, param = null, code = null } = fields;
  return { error: { message, type, param, code } };
}

export function errorResponse(error: ApiError): Response {
  const { status, retryAfter } = error.fields;
  const headers: Record<string, string> = {};
  if (retryAfter !== undefined) headers['retry-after'] = String(retryAfter);
  if (status === 401) headers['www-authenticate'] = 'Bearer';
  // What is left of a refused body is not read.
  if (status === 413 || status === 503) headers.connection = 'close';
  return Response.json(errorBody(error), { status, headers });
}
