"""Labels of texts under the prompt of a finished run, by private inference."""
