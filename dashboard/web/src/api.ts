// Questions to /api/v1. A question asked again cancels the one before it, so that answers never arrive out of order.

import type { Problem } from "./answers";

export class ApiError extends Error {
  override readonly name = "ApiError";

  constructor(
    message: string,
    readonly status: number,
    readonly isRetriable: boolean,
    /** Last part of the problem's type, such as "unknown-service"; empty when the server gave none. */
    readonly kind = "",
  ) {
    super(message);
  }
}

const pending = new Map<string, AbortController>();

/** Address of a question, relative to the page so that it works behind any path prefix. */
export function address(path: string, parameters: Record<string, string>): string {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== ""));
  return `api/v1/${path}?${query.toString()}`;
}

/** The answer; `undefined` when a newer question of the same path replaced this one. */
export async function ask<Answer>(path: string, parameters: Record<string, string>): Promise<Answer | undefined> {
  pending.get(path)?.abort();
  const controller = new AbortController();
  pending.set(path, controller);
  try {
    const response = await fetch(address(path, parameters), { signal: controller.signal });
    if (!response.ok) throw await errorOf(response);
    return (await response.json()) as Answer;
  } catch (error) {
    if (controller.signal.aborted) return undefined;
    if (error instanceof ApiError) throw error;
    throw new ApiError("The server cannot be reached; is flamebus serve still running?", 0, true);
  } finally {
    if (pending.get(path) === controller) pending.delete(path);
  }
}

async function errorOf(response: Response): Promise<ApiError> {
  try {
    const problem = (await response.json()) as Problem;
    return new ApiError(problem.detail, response.status, problem.retriable, problem.type.split(":").pop());
  } catch {
    return new ApiError(`The server answered ${response.status} ${response.statusText}.`, response.status, true);
  }
}
