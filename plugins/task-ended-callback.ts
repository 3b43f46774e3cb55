const header = (name: string, description: string) => ({ in: 'header' as const, name, required: true, description, schema: { type: 'string' as const } })

/** The OpenAPI description of the message that the service posts to the `callback_url` of a request. */
export const taskEndedCallback = {
  '{$request.query.callback_url}': {
    post: {
      summary: 'Receive the end of a task',
      description: 'The message is signed by Standard Webhooks 1.0. It can arrive more than once, each time with the same `webhook-id`.',
      parameters: [
        header('webhook-id', 'The id of the message, which is the id of the task'),
        header('webhook-timestamp', 'The time of this attempt, in seconds since 1970'),
        header('webhook-signature', '`v1,` and a signature in base64. There can be several, separated by spaces: one valid signature is enough')
      ],
      requestBody: { required: true, content: { 'application/json': { schema: { $ref: '#/components/schemas/CallbackMessage' } } } },
      responses: {
        '2XX': { description: 'The message has been received. After any other response except 410 it is sent again, for about 18 hours' },
        410: { description: 'The receiver does not want this message; it is not sent again' }
      }
    }
  }
}
