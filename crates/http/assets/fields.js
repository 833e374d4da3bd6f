// A refusal shown beside the field that it names.

/** Marks the named field of the form and moves there; false if the form has no such field. */
export function showRefusal(form, refusal) {
  clearRefusals(form);
  // In a list the name is a path such as `topics[3]`.
  const field = form.elements.namedItem(refusal.field?.replace(/\[.*/, '') ?? '');
  if (!field) return false;
  const message = document.getElementById(`${field.id}-error`);
  message.textContent = refusal.message;
  message.hidden = false;
  field.setAttribute('aria-invalid', 'true');
  field.focus();
  return true;
}

export function clearRefusals(form) {
  for (const field of form.querySelectorAll('[aria-invalid]')) {
    field.removeAttribute('aria-invalid');
    document.getElementById(`${field.id}-error`).hidden = true;
  }
}
