"""What runs on the clean machine of `operator`, and stands for who and what is around it there."""
